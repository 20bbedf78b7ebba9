"""Convolution by oneDNN agrees with torch, also for input sizes other than the one that the weight was packed for."""

import pytest
from convolutions import PACKED, conv, expected, maps, relu_channels
from helpers import distance

from inceptionzoo.kernels._onednn import OneDNNConv


@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize(
    "options",
    [{}, {"kernel": 1}, {"stride": 2, "kernel": 7, "into": 3}, {"dilation": 2}, {"groups": 4}, {"bias": True, "padding": 0}],
    ids=str,
)
def test_onednn_agrees_with_torch(options, relu):
    layer = conv(**options)
    op = OneDNNConv(layer, relu_channels(layer, relu), (2, layer.in_channels, 17, 20))
    for shape in ((2, layer.in_channels, 17, 20), (1, layer.in_channels, 40, 9)):
        x = maps(*shape)
        assert distance(op(x), expected(layer, x, relu)) < PACKED
        assert distance(op(x.contiguous()), expected(layer, x, relu)) < PACKED


@pytest.mark.parametrize("options", [{"into": 3}, {"kernel": 1}, {}, {"into": 16, "out": 64}], ids=str)
def test_onednn_keeps_nan(options):
    layer = conv(**options)
    x = maps(1, layer.in_channels, 12, 12)
    x[0, 0, 5, 5] = float("nan")
    assert OneDNNConv(layer, layer.out_channels, x.shape)(x).isnan().equal(expected(layer, x, True).isnan())
