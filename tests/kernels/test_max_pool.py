"""The max pool kernel gives exactly the outputs of torch's max pool."""

import pytest
import torch
from convolutions import maps
from torch import nn

from inceptionzoo.inference._modules import TunedMaxPool
from inceptionzoo.kernels._max_pool import MaxPoolOp, supports


@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (3, 1, 1), (2, 2, 0), ((2, 3), (1, 2), (1, 0)), (5, 3, 2)]
)
@pytest.mark.parametrize("channels", [1, 4, 24, 32])
def test_max_pool_equals_torch(kernel_size, stride, padding, ceil_mode, channels):
    pool = nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=ceil_mode)
    assert supports(pool)
    for height, width in ((7, 8), (9, 12), (14, 5)):
        wide = maps(2, channels + 8, height, width)
        for x in (wide[:, :channels], wide[:, :channels].contiguous()):
            y = MaxPoolOp(pool, x.shape)(x)
            assert y.equal(pool(x))
            assert y.shape[1] == 1 or y.is_contiguous(memory_format=torch.channels_last)


def test_unsupported_max_pools():
    assert not supports(nn.MaxPool2d(1))
    assert not supports(nn.MaxPool2d(7))
    assert not supports(nn.MaxPool2d(3, dilation=2))
    assert not supports(nn.MaxPool2d(3, return_indices=True))


def test_max_pool_keeps_nan_and_infinity():
    pool, x = nn.MaxPool2d(3, 1, 1), maps(1, 8, 12, 12)
    x[0, 3, 5, 5] = float("nan")
    assert MaxPoolOp(pool, x.shape)(x).isnan().equal(pool(x).isnan())
    x[0, 2], x[0, 3] = float("inf"), float("-inf")
    assert MaxPoolOp(pool, x.shape)(x).equal(pool(x))


class OwnPool(nn.MaxPool2d):
    """A pool of the user's own."""


@pytest.mark.parametrize(("kind", "has_choice"), [(nn.MaxPool2d, True), (OwnPool, False)])
@torch.no_grad()
def test_only_torchs_own_pool_has_other_implementations(kind, has_choice):
    pool = TunedMaxPool(kind(3, 2, 1))
    pool.tuned = True
    assert (pool.implementation(maps(1, 8, 12, 12)) is not None) == has_choice
