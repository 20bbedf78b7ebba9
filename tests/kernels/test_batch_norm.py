"""Batch normalisation and ReLU in one pass agree with torch's modules, in outputs, gradients and running statistics."""

import copy

import pytest
import torch
from convolutions import maps, second_gradients
from helpers import distance, noise
from torch import nn

from inceptionzoo.kernels import KernelOps
from inceptionzoo.kernels._batch_norm import normalize_relu
from inceptionzoo.kernels._batch_norm_kernels import CHUNK


def make_norm(channels: int = 16, **options: object) -> nn.BatchNorm2d:
    bn = nn.BatchNorm2d(channels, **options)
    with torch.no_grad():
        bn.weight.copy_(noise(channels, seed=3)), bn.bias.copy_(noise(channels, seed=4))
    return bn


def run(function: object, bn: nn.BatchNorm2d, x: torch.Tensor, gradient: torch.Tensor) -> list[torch.Tensor]:
    """Return the output, the gradients of x, weight and bias, and the buffers of a copy of the module."""
    bn, x = copy.deepcopy(bn), x.detach().requires_grad_()
    y = function(bn, x)
    y.backward(gradient)
    return [y.detach(), x.grad, bn.weight.grad, bn.bias.grad, *bn.buffers()]


def check(bn: nn.BatchNorm2d, x: torch.Tensor, gradient: torch.Tensor, tolerance: float = 1e-5) -> None:
    ours = run(normalize_relu, bn, x, gradient)
    theirs = run(lambda bn, x: bn(x).relu(), copy.deepcopy(bn).double(), x.double(), gradient.double())
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        assert float((mine - other).abs().max()) <= tolerance * float(other.abs().max())


@pytest.mark.parametrize("shape", [(2, 16, 2, 1), (1, 8, 3, 5), (4, 24, 7, 7), (2, 64, 15, 17), (3, 520, 6, 6)])
def test_agrees_with_torch(shape):
    check(make_norm(shape[1]), maps(*shape), maps(*shape).flip(0))


@pytest.mark.parametrize("rows", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5 * CHUNK + 3])
def test_chunks_of_rows(rows):
    check(make_norm(8), maps(1, 8, rows, 1), noise(1, 8, rows, 1).to(memory_format=torch.channels_last))


@pytest.mark.parametrize("options", [{"momentum": 0.3}, {"momentum": None}, {"eps": 1e-3}, {"track_running_stats": False}])
def test_settings(options):
    bn = make_norm(**options)
    for _ in range(2):
        check(bn, maps(2, 16, 6, 6), maps(2, 16, 6, 6).sin())
        ours, theirs = copy.deepcopy(bn), bn
        normalize_relu(ours, maps(2, 16, 6, 6)), theirs(maps(2, 16, 6, 6))
        for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
            assert torch.allclose(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("setting", [("track_running_stats", False), ("num_batches_tracked", None)], ids=str)
@pytest.mark.parametrize("momentum", [None, 0.2])
def test_statistics_that_torch_does_not_update(setting, momentum):
    bn = make_norm(momentum=momentum)
    setattr(bn, *setting)
    ours, x = copy.deepcopy(bn), maps(2, 16, 6, 6)
    normalize_relu(ours, x), bn(x)
    for mine, other in zip(ours.buffers(), bn.buffers(), strict=True):
        assert torch.allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_a_frozen_momentum_keeps_the_statistics():
    """Gradient checkpointing runs a stage again with momentum 0 and no counter."""
    bn = make_norm()
    before = [buffer.clone() for buffer in bn.buffers()]
    bn.momentum, counter, bn.num_batches_tracked = 0.0, bn.num_batches_tracked, None
    normalize_relu(bn, maps(2, 16, 6, 6))
    bn.num_batches_tracked = counter
    assert all(map(torch.equal, before, bn.buffers()))


@pytest.mark.parametrize("scale", [1e-3, 1.0])
@pytest.mark.parametrize("mean", [0.0, 100.0, -1e4])
def test_large_means_lose_no_digits(mean, scale):
    """The variance is as exact as the input's digits allow, also if there is an outlier."""
    x = (maps(2, 8, 20, 20) * scale + mean).contiguous(memory_format=torch.channels_last)
    x[0, :, 0, 0] += 1000 * scale
    bn = nn.BatchNorm2d(8, eps=0.0, momentum=1.0)
    normalize_relu(bn, x)
    exact = x.double().var((0, 2, 3))
    assert distance(bn.running_var.double(), exact) < 1e-6
    assert float((bn.running_mean - x.double().mean((0, 2, 3))).abs().max()) <= 1e-6 * max(1.0, abs(mean))


def test_the_gradient_of_a_concatenation_is_read_in_place():
    bn, x, joined = make_norm(), maps(2, 16, 6, 6), maps(2, 40, 6, 6).cos()
    check(bn, x, joined[:, 8:24])


def test_other_layouts_of_gradients():
    bn, x = make_norm(), maps(2, 16, 6, 6)
    check(bn, x, noise(2, 16, 6, 6))
    check(bn, x, torch.ones(1).expand(2, 16, 6, 6))


def test_nan_and_inf_are_kept():
    bn, x = make_norm(), maps(2, 16, 6, 6)
    x[0, 3, 2, 2], x[1, 5, 1, 1] = float("nan"), float("inf")
    ours, theirs = normalize_relu(bn, x), bn(x).relu()
    assert torch.equal(ours.isnan(), theirs.isnan())
    finite = [channel for channel in range(16) if channel not in (3, 5)]
    assert distance(ours[:, finite].detach(), theirs[:, finite].detach()) < 1e-5


def test_threads_change_no_bit():
    bn, x, gradient = make_norm(), maps(2, 16, 30, 30), maps(2, 16, 30, 30).sin()
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(run(normalize_relu, bn, x, gradient))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0][:2], other[:2]))


def test_second_derivatives():
    bn, x = make_norm(), maps(2, 16, 6, 6)
    theirs = second_gradients(lambda bn, x: bn(x).relu(), copy.deepcopy(bn).double(), x.double())
    for ours, other in zip(second_gradients(normalize_relu, bn, x), theirs, strict=True):
        assert distance(ours, other) < 1e-4


def test_frozen_inputs_and_outputs_without_gradient():
    bn, x = make_norm(), maps(2, 16, 6, 6)
    normalize_relu(bn, x).sum().backward()  # x needs no gradient
    assert bn.weight.grad is not None
    with torch.no_grad():
        assert not normalize_relu(bn, x).requires_grad


def is_replaced(bn: nn.Module, act: nn.Module, x: torch.Tensor) -> bool:
    return KernelOps().normalizes(bn, act, x)


def test_what_kernels_replace():
    bn, act, x = make_norm(), nn.ReLU(), maps(2, 16, 6, 6)
    assert is_replaced(bn, act, x)
    assert not is_replaced(None, act, x)
    assert not is_replaced(bn, None, x)
    assert not is_replaced(bn, nn.LeakyReLU(), x)
    assert not is_replaced(nn.GroupNorm(4, 16), act, x)
    assert not is_replaced(nn.BatchNorm2d(16, affine=False), act, x)
    assert not is_replaced(copy.deepcopy(bn).eval(), act, x)
    assert not is_replaced(bn, act, x.contiguous())
    assert not is_replaced(bn, act, x.double())
    assert not is_replaced(bn, act, maps(2, 24, 6, 6))
    assert not is_replaced(make_norm(12), act, maps(2, 12, 6, 6))
    assert not is_replaced(bn, act, maps(1, 16, 1, 1))  # torch raises the error
    hooked = nn.ReLU()
    hooked.register_forward_hook(lambda *_: None)
    assert not is_replaced(bn, hooked, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_replaced(bn, act, x)


def test_second_derivatives_of_odd_strides():
    """Torch leaves the strides of a side of one pixel arbitrary."""
    bn, x = make_norm(), maps(4, 16, 5, 6)[::2][:1]
    assert x.stride() != maps(1, 16, 5, 6).stride()

    def run_function(function: object) -> list[torch.Tensor]:
        inputs = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(inputs).pow(3).sum(), inputs, create_graph=True)
        return [gradient.detach(), *torch.autograd.grad(gradient.square().sum(), inputs)]

    theirs = run_function(lambda x: copy.deepcopy(bn)(x).relu())
    for ours, other in zip(run_function(lambda x: normalize_relu(copy.deepcopy(bn), x)), theirs, strict=True):
        assert distance(ours, other) < 1e-4
