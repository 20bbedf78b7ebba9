"""Max pools in training by kernels agree with torch's to the bit, in outputs and gradients."""

import pytest
import torch
from convolutions import maps
from helpers import distance
from torch import nn

from inceptionzoo.kernels import KernelOps
from inceptionzoo.kernels._max_pool_training import MaxPoolFunction, max_pool

POOLS = [
    nn.MaxPool2d(3, 2),
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(3, 1, 1),
    nn.MaxPool2d(2, 2),
    nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.MaxPool2d(2, 3),
    nn.MaxPool2d((3, 1), (2, 1), (1, 0)),
    nn.MaxPool2d(5, 2, 2),
    nn.MaxPool2d(2, 3, ceil_mode=True),
    nn.MaxPool2d(3, (1, 2), (1, 0)),
]


def run(function: object, x: torch.Tensor, gradient_of: object = torch.cos) -> list[torch.Tensor]:
    x = x.detach().requires_grad_()
    y = function(x)
    y.backward(gradient_of(y.detach()))
    return [y.detach(), x.grad]


@pytest.mark.parametrize("shape", [(2, 8, 7, 7), (1, 24, 12, 9), (3, 16, 5, 14), (2, 8, 112, 3)])
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_agrees_with_torch(pool, shape):
    x = maps(*shape)
    (y, gradient), (expected, expected_gradient) = run(lambda x: max_pool(pool, x), x), run(pool, x.double())
    assert torch.equal(y, expected.float())
    assert distance(gradient, expected_gradient) < 1e-6
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_ties_and_zeros(pool):
    """After a ReLU many values are equal: the gradient goes to the first, as in torch."""
    x = maps(2, 8, 13, 13).relu().round()
    (y, gradient), (expected, expected_gradient) = run(lambda x: max_pool(pool, x), x), run(pool, x)
    assert torch.equal(y, expected)
    assert distance(gradient, expected_gradient) < 1e-6


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_nan_is_larger_than_all_numbers(pool):
    x = maps(2, 8, 9, 9)
    x[0, 1, 3:5, 4], x[1, 2, 0, 0], x[0, 5, 8, 8] = float("nan"), float("inf"), float("nan")
    ours = run(lambda x: max_pool(pool, x), x, lambda y: torch.ones_like(y))
    theirs = run(pool, x, lambda y: torch.ones_like(y))
    assert all(torch.equal(mine.nan_to_num(7), other.nan_to_num(7)) for mine, other in zip(ours, theirs, strict=True))


def test_gradients_of_other_layouts():
    pool, x = nn.MaxPool2d(3, 2), maps(2, 8, 9, 9)
    for gradient in (maps(2, 24, 4, 4)[:, 8:16], maps(2, 8, 4, 4).contiguous(), torch.ones(1).expand(2, 8, 4, 4)):
        ours, theirs = (
            run(function, x, lambda _, gradient=gradient: gradient)[1] for function in (lambda x: max_pool(pool, x), pool)
        )
        assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_second_derivatives(pool):
    def penalty(function: object, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(x).pow(3).sum(), x, create_graph=True)
        gradient.square().sum().backward()
        return x.grad

    x = maps(2, 8, 9, 9)
    assert distance(penalty(lambda x: max_pool(pool, x), x), penalty(pool, x)) < 1e-6


def test_threads_change_no_bit():
    pool, x, found, before = nn.MaxPool2d(3, 2, 1), maps(3, 8, 30, 31), [], torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(run(lambda x: max_pool(pool, x), x))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


@pytest.mark.parametrize(
    ("pool", "x"),
    [
        (nn.MaxPool2d(3, 2, dilation=2), maps(2, 8, 9, 9)),
        (nn.MaxPool2d(7, 2), maps(2, 8, 9, 9)),
        (nn.MaxPool2d(3, 6), maps(2, 8, 9, 9)),
        (nn.MaxPool2d(3, 2), maps(2, 12, 9, 9)),
        (nn.MaxPool2d(3, 2), maps(2, 8, 9, 9).contiguous()),
        (nn.MaxPool2d(3, 2), maps(2, 8, 9, 9).double()),
    ],
    ids=["dilation", "49 taps", "stride 6", "12 channels", "contiguous", "double"],
)
def test_other_pools_run_by_torch(pool, x, monkeypatch):
    monkeypatch.setattr(MaxPoolFunction, "apply", None)
    ours, theirs = run(lambda x: KernelOps().max_pool(pool, x), x), run(pool, x)
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2), nn.MaxPool2d(2, 1, padding=2)], ids=str)
def test_windows_that_torch_refuses(pool):
    x = maps(2, 8, 2, 2)
    with pytest.raises(RuntimeError):
        pool(x)
    with pytest.raises(RuntimeError):
        KernelOps().max_pool(pool, x)


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_minus_infinity_at_the_border(pool):
    """The gradient goes to a pixel of the map, not to the padding; neither does that of the gradient."""
    x = maps(2, 8, 9, 9)
    x[:, :, :4, :4] = x[1, :, :, -4:] = float("-inf")

    def derivatives(function: object) -> list[torch.Tensor]:
        inputs = x.detach().requires_grad_()
        y = function(inputs)
        output_gradient = torch.ones_like(y).requires_grad_()
        (gradient,) = torch.autograd.grad(y, inputs, output_gradient, create_graph=True)
        (second,) = torch.autograd.grad((gradient * maps(2, 8, 9, 9)).sum(), output_gradient)
        return [run(function, x, lambda y: torch.ones_like(y))[1], gradient.detach(), second]

    for ours, theirs in zip(derivatives(lambda x: max_pool(pool, x)), derivatives(pool), strict=True):
        assert distance(ours, theirs) < 1e-6
