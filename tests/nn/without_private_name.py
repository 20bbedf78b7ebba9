"""Use the library with a torch that lacks one private name, as a later release may. test_private_torch.py runs this file.

Usage: python without_private_name.py NAME...

Each name is removed in its own process, which is forked after torch was imported. The output is JSON:
{name: the warnings of `fuse(model)(x)`, or the traceback of an error}.
"""

import ctypes
import importlib
import json
import multiprocessing
import sys
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

USED_BY_TORCH = (  # names that torch itself needs in the backward pass, or in modules that it imports late
    "torch._C._are_functorch_transforms_active",
    "torch.utils._python_dispatch._get_current_dispatch_mode",
)
READERS = "inceptionzoo", "pkgutil"


class MissingAttribute:
    """A descriptor that makes an attribute missing from a class and its instances."""

    def __get__(self, instance: object, owner: type) -> None:
        raise AttributeError("missing")


def read_by_the_library() -> bool:
    """Return whether the caller's caller is the library, directly or through `pkgutil.resolve_name`."""
    return sys._getframe(2).f_globals["__name__"].partition(".")[0] in READERS


def delete(path: str) -> None:
    """Delete a name from torch. If torch itself needs the name, hide it only from the library."""
    owner_path, _, name = path.rpartition(".")
    if owner_path == "torch.nn.Module":
        assert hasattr(nn.Module(), name)
        find = nn.Module.__getattribute__

        def find_unless_hidden(module: nn.Module, key: str) -> object:
            if key == name and read_by_the_library():
                raise AttributeError(key)
            return find(module, key)

        nn.Module.__getattribute__ = find_unless_hidden
    elif path in USED_BY_TORCH:

        class HidingModule(ModuleType):
            def __getattribute__(self, key: str) -> object:
                if key == name and read_by_the_library():
                    raise AttributeError(key)
                return super().__getattribute__(key)

        owner = importlib.import_module(owner_path)
        assert hasattr(owner, name)
        owner.__class__ = HidingModule
    elif path == "torch.Tensor._version":  # C code defines it in a base class
        assert hasattr(torch.Tensor, name)
        torch.Tensor._version = MissingAttribute()
        assert not hasattr(nn.Parameter, name)
    elif owner_path == "torch.ops.mkldnn":
        assert hasattr(torch.ops.mkldnn, name)
        namespace = type(torch.ops.mkldnn)
        find_operation = namespace.__getattr__
        delattr(torch.ops.mkldnn, name)  # the next look-up calls __getattr__
        namespace.__getattr__ = lambda self, key: find_operation(self, "missing" if key == name else key)
        assert not hasattr(torch.ops.mkldnn, name)
    elif owner_path == "libtorch_cpu":
        find_symbol = ctypes.CDLL.__getattr__
        (library,) = (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")
        assert hasattr(ctypes.CDLL(str(library)), name)
        ctypes.CDLL.__getattr__ = lambda self, key: find_symbol(self, "missing" if key == name else key)
        assert not hasattr(ctypes.CDLL(str(library)), name)
    else:
        owner = importlib.import_module(owner_path)
        delattr(owner, name)  # raises if it is not there
        assert not hasattr(owner, name)


def use_the_library() -> list[str]:
    """Make, train, load and fuse a model; return the warnings of `fuse(model)(x)`."""
    assert "inceptionzoo" not in sys.modules
    import inceptionzoo as iz

    assert "googlenet" in iz.list_models()
    torch.set_num_threads(1)
    block = iz.concat(one=iz.Conv(8), three=iz.Conv(8, 3), pool=iz.chain(iz.Pool("max", 3), iz.Conv(8)))
    iz.register_model("small", iz.network(stem=iz.Conv(16, 3, 2), mixed=block), num_classes=2, input_size=(3, 32, 32))
    model = iz.create_model("small")
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    iz.load_weights(model, model.state_dict())
    model.eval()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        fast = iz.fuse(model)
        with torch.no_grad():
            outputs, again = fast(images), fast(images)
    with torch.no_grad():
        expected = model(images)
        assert (outputs - expected).abs().max() <= 1e-4 * expected.abs().max()
        assert outputs.equal(again)
        assert (iz.fuse(model, tune=False)(images) - expected).abs().max() <= 1e-5 * expected.abs().max()
    return [str(warning.message) for warning in given]


def run(path: str, results: Connection) -> None:
    try:
        delete(path)
        results.send(use_the_library())
    except BaseException:
        results.send(traceback.format_exc())


def main(paths: list[str]) -> None:
    fork = multiprocessing.get_context("fork")
    outcomes = {}
    for path in paths:
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=run, args=(path, sender))
        process.start()
        sender.close()  # so that a crash of the process ends the pipe
        try:
            outcomes[path] = receiver.recv()
        except EOFError:
            outcomes[path] = "the process crashed"
        process.join()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1:])
