"""Functions that several test files use."""

import contextlib
import math
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

import inceptionzoo as iz

WARNINGS = os.environ.get("SUBPROCESS_WARNINGS", "error")  # the option -W of processes that tests start
GPU = torch.device(os.environ.get("INCEPTIONZOO_TEST_DEVICE", "cuda"))  # the device of the tests marked `gpu`


IMAGE_MODELS = [name for name in iz.list_models() if len(iz.model_info(name).input_size) == 3]


def quick(names: Iterable[str], chosen: Container[str]) -> list[object]:
    """Return the names as parameters of a test; only `make test-full` runs those that are not chosen."""
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.full) for name in names]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, so that equal computations give bit-identical results. It can also be a decorator."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Return normal random numbers, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny_network(*, five: object = (3, 3), width: int = 4) -> iz.Network:
    """Return a network of a few kilobytes with an Inception block, batch normalisation and an auxiliary head."""
    side = iz.Aux("stem", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2))
    return iz.network(stem=iz.Conv(width, 3), block=iz.inception(2, 2, 2, 2, 2, 2, five=five), aux=(side,))


def fill(model: nn.Module, images: Tensor | None = None, seed: int = 0) -> nn.Module:
    """Give the model random weights (He's initialisation) and biases, and return it in evaluation mode.

    Batch normalisation gets random weights and biases, and its statistics from `images` if they are given. A model on the meta
    device is moved to the CPU.
    """
    torch.manual_seed(seed)
    has_signals = any(isinstance(module, nn.Conv1d) for module in model.modules())
    norms = (nn.BatchNorm2d, nn.BatchNorm3d, *[nn.BatchNorm1d] * has_signals)  # not that of a head on vectors
    if any(parameter.is_meta for parameter in model.parameters()):
        model.to_empty(device="cpu")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
                module.weight.normal_(0, math.sqrt(2 / module.weight[0].numel()))
                if module.bias is not None:
                    module.bias.uniform_(-0.2, 0.2)
            elif isinstance(module, norms):
                module.weight.uniform_(0.5, 1.5), module.bias.uniform_(-0.2, 0.2)
                module.reset_running_stats()
                module.momentum = None
        if images is not None:
            model.train()(images)
    return model.eval()


def pre_activation_taps(model: iz.Net) -> list[str]:
    """Return "STAGE:pre" for each stage that has a map before its activation."""
    taps = []
    for name, _ in model.network.stages:
        with contextlib.suppress(iz.ArgumentError):
            taps += model.tap_names([f"{name}:pre"])
    return taps


class Block(nn.Module):
    """Figure 2b of the GoogLeNet paper, by hand, with pytorch-cifar's names. `five`: the kernels that replace the 5x5."""

    def __init__(
        self, into: int, row: tuple[int, ...], five: tuple[int, ...] = (3, 3), *, bias: bool = True, eps: float = 1e-5
    ):
        super().__init__()
        n1, r3, n3, r5, n5, proj = row

        def conv(into: int, out: int, kernel: int) -> tuple[nn.Module, ...]:
            padding = {1: 0, 3: 1, 5: 2}[kernel]
            return nn.Conv2d(into, out, kernel, 1, padding, bias=bias), nn.BatchNorm2d(out, eps), nn.ReLU(True)

        self.b1 = nn.Sequential(*conv(into, n1, 1))
        self.b2 = nn.Sequential(*conv(into, r3, 1), *conv(r3, n3, 3))
        self.b3 = nn.Sequential(*conv(into, r5, 1), *conv(r5, n5, five[0]), *(conv(n5, n5, five[1]) if five[1:] else ()))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), *conv(into, proj, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(x)], 1)


def outputs(modules: Mapping[str, nn.Module], run: Callable[[], object]) -> dict[str, Tensor]:
    """Call `run()` and return the output of each module, by name."""
    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _, __, output: seen.update({name: output.detach().clone()})

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return seen


def shape_text(x: Tensor) -> str:
    """Return height x width x channels, as the papers write it."""
    return "x".join(map(str, (*x.shape[2:], x.shape[1])))


def measure(module: nn.Module, run: Callable[[], object]) -> tuple[int, int]:
    """Call `run()` and return (parameters, multiply-adds of one image) of the module, counted from its real outputs."""
    layers = {
        name: part for name, part in module.named_modules() if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)
    }
    macs = sum(layers[name].weight.numel() * math.prod(y.shape[2:]) for name, y in outputs(layers, run).items())
    return sum(parameter.numel() for parameter in module.parameters()), macs


def weights(model: nn.Module) -> Tensor:
    """Return the values of all parameters of a model as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest absolute difference, divided by the largest absolute value of `theirs`."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0
    return float((ours - theirs).abs().max() / theirs.abs().max())


def sktime_network(channels: int, classes: int) -> nn.Module:
    """Return sktime's InceptionTime with random weights and the paper's activations, which sktime's class takes as modules.

    Its input is (n, length, channels).
    """
    from sktime.networks.inceptiontime._inceptiontime_torch import InceptionTimeNetworkTorch

    relu = nn.ReLU()
    network = InceptionTimeNetworkTorch(channels, classes, activation_hidden=relu)
    for shortcut in network.shortcut_layers:
        shortcut.activation = relu  # the constructor's `activation` would be applied to the logits too
    return fill(network)
