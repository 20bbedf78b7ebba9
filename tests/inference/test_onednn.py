"""Packed weights give the convolution's outputs, for other sizes of input too."""

import pytest
from convolutions import PACKED, conv, expected, maps, rectified
from helpers import distance

from inceptionzoo.inference.cpu._onednn import OneDNNConv


@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize(
    "options",
    [{}, {"kernel": 1}, {"stride": 2, "kernel": 7, "into": 3}, {"dilation": 2}, {"groups": 4}, {"bias": True, "padding": 0}],
    ids=str,
)
def test_packed(options, relu):
    made = conv(**options)
    for shape in ((2, made.in_channels, 17, 20), (1, made.in_channels, 40, 9)):
        x = maps(*shape)
        way = OneDNNConv(made, rectified(made, relu), (2, made.in_channels, 17, 20))
        assert distance(way(x), expected(made, x, relu)) < PACKED
        assert distance(way(x.contiguous()), expected(made, x, relu)) < PACKED


@pytest.mark.parametrize("options", [{"into": 3}, {"kernel": 1}, {}, {"into": 16, "out": 64}], ids=str)
def test_nan(options):
    made = conv(**options)
    x = maps(1, made.in_channels, 12, 12)
    x[0, 0, 5, 5] = float("nan")
    assert OneDNNConv(made, made.out_channels, x.shape)(x).isnan().equal(expected(made, x, True).isnan())
