"""The average pool kernel agrees with torch's average pool, followed by a bias and an optional ReLU."""

import pytest
import torch
from convolutions import PACKED, maps
from helpers import distance, noise
from torch import nn

from inceptionzoo.kernels._average_pool import AveragePoolOp, supports


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("channels", [3, 8, 48])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 1, "padding": 1},
        {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": (1, 5), "stride": (3, 1), "padding": (0, 2), "count_include_pad": False},
        {"kernel_size": 2, "divisor_override": 3},
    ],
    ids=str,
)
def test_average_pool_agrees_with_torch(options, channels, relu):
    pool, bias = nn.AvgPool2d(**options), noise(channels)
    assert supports(pool)
    wide = maps(3, channels + 8, 8, 11)
    for x in (wide[:, :channels].contiguous(memory_format=torch.channels_last), wide[:, 8:], wide[:, :channels].contiguous()):
        y = pool(x.double()) + bias[:, None, None]
        assert distance(AveragePoolOp(pool, bias, relu, x.shape)(x), y.relu() if relu else y) < PACKED


def test_unsupported_average_pools():
    assert not supports(nn.AvgPool2d(1))
    assert not supports(nn.AvgPool2d(7))
    assert not supports(nn.AdaptiveAvgPool2d(3))


def test_average_pool_keeps_nan_and_infinity():
    pool, bias, x = nn.AvgPool2d(3, 1, 1), noise(8), maps(1, 8, 12, 12)
    x[0, 3, 5, 5], x[0, 2, 9, 9] = float("nan"), float("inf")
    y, reference = AveragePoolOp(pool, bias, True, x.shape)(x), (pool(x) + bias[:, None, None]).relu()
    assert y.isnan().equal(reference.isnan())
    assert y.isinf().equal(reference.isinf())
