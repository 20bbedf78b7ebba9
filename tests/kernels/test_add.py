"""The kernel that ends a residual block gives exactly torch's sum and ReLU, in place."""

import pytest
import torch
from convolutions import maps

from inceptionzoo.kernels._add import add_launch
from inceptionzoo.kernels._jit import launch


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("channels", [1, 4, 24, 33])
def test_add_equals_torch(channels, relu):
    wide, sums = maps(2, channels + 8, 5, 7), maps(2, channels + 4, 5, 7) - 0.5
    x, y = wide[:, 8:], sums[:, :channels]
    x[0, 0, 2, 3], x[1, 0, 0, 0] = float("nan"), float("inf")
    expected, others = (x + y).relu() if relu else x + y, sums[:, channels:].clone()
    launch(*add_launch(x, y, relu=relu))
    torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True)
    assert sums[:, channels:].equal(others)
