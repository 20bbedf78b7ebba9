"""Use the library in a process whose torch lacks one private name, as a later release may. Run by test_private_torch.py.

Usage: python without_private_name.py NAME, as `missing_names` writes it.
"""

import ctypes
import importlib
import re
import sys
import warnings
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType


def rename_attribute(name: str) -> None:
    """Rename an attribute of torch's modules in the source of every package but ours, when it is imported."""
    get_code = SourceFileLoader.get_code

    def renaming_get_code(loader: SourceFileLoader, fullname: str) -> CodeType | None:
        if fullname.partition(".")[0] != "inceptionzoo":
            source = Path(loader.path).read_bytes().decode(errors="replace")
            if re.search(rf"\b{name}\b", source):
                return compile(re.sub(rf"\b{name}\b", f"renamed{name}", source), loader.path, "exec", dont_inherit=True)
        return get_code(loader, fullname)

    SourceFileLoader.get_code = renaming_get_code
    from torch import nn

    assert hasattr(nn.Module(), f"renamed{name}")
    assert not hasattr(nn.Module(), name)


def delete(path: str) -> None:
    """Delete a name from torch, which must have it."""
    import torch

    owner_path, _, name = path.rpartition(".")
    if path == "torch.Tensor._version":  # C code defines it in the base class
        assert torch.ones(1)._version == 0
        torch.Tensor._version = MissingAttribute()
        assert not hasattr(torch.Tensor, name)
        assert not hasattr(torch.nn.Parameter(torch.ones(1)), name)
    elif owner_path == "torch.ops.mkldnn":
        namespace = type(torch.ops.mkldnn)
        assert hasattr(torch.ops.mkldnn, name)
        find = namespace.__getattr__
        torch.ops.mkldnn.__dict__.pop(name)
        namespace.__getattr__ = lambda self, key: missing(key) if key == name else find(self, key)
        assert not hasattr(torch.ops.mkldnn, name)
    elif owner_path == "libtorch_cpu":
        find_symbol = ctypes.CDLL.__getitem__
        (library,) = (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")
        assert hasattr(ctypes.CDLL(str(library)), name)
        ctypes.CDLL.__getitem__ = lambda self, key: missing(key) if key == name else find_symbol(self, key)
        assert not hasattr(ctypes.CDLL(str(library)), name)
    else:
        owner = torch if owner_path == "torch" else importlib.import_module(owner_path)
        delattr(owner, name)  # raises if it is not there
        assert not hasattr(owner, name)


def missing(name: str) -> None:
    raise AttributeError(name)


class MissingAttribute:
    """A descriptor that makes an attribute of a class and of its instances missing."""

    def __get__(self, instance: object, owner: type) -> None:
        missing("hidden")


def main(path: str) -> None:
    prefix, _, name = path.rpartition(".")
    if prefix == "torch.nn.Module":
        rename_attribute(name)
    else:
        delete(path)
    import torch

    import inceptionzoo as iz

    warnings.simplefilter("error")
    assert "googlenet" in iz.list_models()
    model = iz.create_model("vgg11_bn_cifar", num_classes=2)
    images = torch.randn(2, 3, 32, 32)
    torch.nn.functional.cross_entropy(model(images), torch.tensor([0, 1])).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01 * parameter.grad
    iz.load_weights(model, iz.create_model("vgg11_bn_cifar", num_classes=2).state_dict())
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
        assert iz.fuse(model, tune=False)(images).shape == (2, 2)
    for warning in given:
        print(warning.message)


if __name__ == "__main__":
    main(sys.argv[1])
