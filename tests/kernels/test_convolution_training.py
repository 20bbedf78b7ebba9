"""A convolution behind batch normalisation and ReLU computes its input again in the backward pass, and keeps no copy of it."""

import copy
import io

import pytest
import torch
from convolutions import gradients, maps, second_gradients
from helpers import distance, noise
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from inceptionzoo.kernels import KernelOps, _training
from inceptionzoo.kernels._normalization_source import find_source

OPS = KernelOps()
OPTIONS = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (1, 7), "padding": (0, 3)},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "padding": 4, "dilation": 2},
    {"kernel_size": 3, "groups": 8, "bias": False},
]


class Chain(nn.Module):
    """Batch normalisation, ReLU and a convolution: by kernels in float32, by torch in float64."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(16), nn.Conv2d(16, 24, **options)
        with torch.no_grad():
            self.bn.weight.copy_(noise(16, seed=3)), self.bn.bias.copy_(noise(16, seed=4))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.float64:
            return self.conv(self.bn(x).relu())
        return OPS.convolve(self.conv, OPS.normalize_relu(self.bn, x))


def check(found: list[torch.Tensor], chain: nn.Module, x: torch.Tensor, tolerance: float = 2e-5) -> None:
    theirs = gradients(Chain.__call__, copy.deepcopy(chain).double(), x.double())
    for ours, other in zip(found, theirs, strict=True):
        assert ours.shape == other.shape
        assert distance(ours, other) < tolerance


@pytest.fixture(params=[False, True], ids=["large only", "all by Winograd"], autouse=True)
def sizes(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(_training, "MIN_PRODUCTS", 0)
        monkeypatch.setattr(_training, "MIN_PIXELS", 0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_outputs_and_gradients_agree_with_torch(options):
    chain, x = Chain(**options), maps(2, 16, 13, 14)
    found = gradients(Chain.__call__, chain, x)
    check(found, chain, x)
    assert all(map(torch.equal, found, gradients(Chain.__call__, chain, x)))
    strides = [parameter.stride() for parameter in chain.parameters()]
    assert [gradient.stride() for gradient in found[2:]] == strides


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_input_is_not_kept(options):
    chain, x, kept = Chain(**options), maps(2, 16, 13, 14).requires_grad_(), []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda tensor: tensor):
        y = OPS.normalize_relu(chain.bn, x)
        OPS.convolve(chain.conv, y)
    assert x.data_ptr() in kept
    assert y.data_ptr() not in kept


def test_a_changed_input_is_kept():
    def double(chain: Chain, x: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.float64:
            return chain.conv(chain.bn(x).relu().mul(2))
        return OPS.convolve(chain.conv, OPS.normalize_relu(chain.bn, x).mul_(2))

    chain, x = Chain(kernel_size=3), maps(2, 16, 13, 14)
    found, theirs = gradients(double, chain, x), gradients(double, copy.deepcopy(chain).double(), x.double())
    assert all(distance(ours, other) < 2e-5 for ours, other in zip(found, theirs, strict=True))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_second_derivatives(options):
    chain, x = Chain(**{**options, "bias": False}), maps(2, 16, 6, 7)
    theirs = second_gradients(Chain.__call__, copy.deepcopy(chain).double(), x.double())
    for ours, other in zip(second_gradients(Chain.__call__, chain, x), theirs, strict=True):
        assert distance(ours, other) < 1e-4


@pytest.mark.parametrize("reentrant", [False, True])
def test_in_a_checkpoint(reentrant):
    chain, x = Chain(kernel_size=3, padding=1), maps(2, 16, 13, 14)
    found = gradients(lambda chain, x: checkpoint(chain, x, use_reentrant=reentrant), chain, x)
    assert all(map(torch.equal, found, gradients(Chain.__call__, chain, x)))


@pytest.mark.parametrize("frozen", ["bn", "conv"])
def test_frozen_parameters(frozen):
    chain, x = Chain(kernel_size=3), maps(2, 16, 13, 14)
    getattr(chain, frozen).requires_grad_(False)
    check(gradients(Chain.__call__, chain, x), chain, x)


def test_no_source_without_a_backward_pass():
    bn, x = Chain(kernel_size=1).bn, maps(2, 16, 6, 6)
    assert find_source(OPS.normalize_relu(bn, x)) is not None
    with torch.no_grad():
        assert find_source(OPS.normalize_relu(bn, x)) is None
    assert find_source(x) is None


def test_a_saved_output_has_no_source():
    y, file = OPS.normalize_relu(Chain(kernel_size=1).bn, maps(2, 16, 30, 30)), io.BytesIO()
    torch.save(y, file)
    assert file.tell() < 1.2 * y.nbytes
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert loaded.equal(y)
    assert find_source(loaded) is None


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_second_derivatives_by_the_map_between(options):
    chain, x = Chain(**{**options, "bias": False}), maps(2, 16, 6, 7)

    def second(chain: Chain, x: torch.Tensor, *, by_kernels: bool) -> torch.Tensor:
        x = x.detach().requires_grad_()
        y = OPS.normalize_relu(chain.bn, x) if by_kernels else chain.bn(x).relu()
        z = OPS.convolve(chain.conv, y) if by_kernels else chain.conv(y)
        (gradient,) = torch.autograd.grad(z.pow(3).sum(), chain.conv.weight, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), y)[0]

    theirs = second(copy.deepcopy(chain).double(), x.double(), by_kernels=False)
    assert distance(second(chain, x, by_kernels=True), theirs) < 1e-4


def test_second_derivatives_after_a_change_of_the_map_between():
    """They are those of the map that was convolved."""
    chain, x, found = Chain(kernel_size=3, padding=1), maps(2, 16, 6, 7), []
    for factor in (1, 2):
        y = OPS.normalize_relu(chain.bn, x)
        z = OPS.convolve(chain.conv, y)
        with torch.no_grad():
            y.mul_(factor)
        found += torch.autograd.grad(z.square().sum(), chain.conv.weight, create_graph=True)
    assert distance(found[1].detach(), found[0].detach()) < 1e-5
