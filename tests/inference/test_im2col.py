"""A convolution as one product gives the convolution's outputs, for every window, stride, border and layout."""

import pytest
from convolutions import PACKED, conv, expected, maps, rectified
from helpers import distance

from inceptionzoo.inference.cpu import _buffers as buffers
from inceptionzoo.inference.cpu._im2col import Im2colConv, packed_weight, supports


@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize("side", [1, 7, 30])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 1},
        {"kernel": 1, "into": 12, "out": 9},
        {"kernel": 1, "into": 64, "out": 88},
        {"kernel": 1, "stride": 2},
        {"kernel": 1, "padding": 1},
        {},
        {"stride": 2, "out": 40},
        {"kernel": (1, 7), "into": 4},
        {"kernel": 5, "stride": 3, "padding": (0, 4)},
        {"kernel": 7},
    ],
    ids=str,
)
def test_direct(options, side, relu):
    made = conv(**options)
    assert supports(made)
    if options.get("kernel") == 5:
        side += 4
    way = Im2colConv(made, rectified(made, relu), packed_weight(made))
    wide = maps(3, made.in_channels + 8, side, side + 2)
    for x in (wide[:, : made.in_channels].contiguous(), wide[:, 8:], wide[:1, : made.in_channels], wide[:, :-8]):
        assert distance(way(x), expected(made, x, relu)) < PACKED


def test_in_parts(monkeypatch):
    monkeypatch.setattr(buffers, "CACHE_BYTES", 1 << 12)
    made, x = conv(), maps(2, 8, 19, 23)
    assert distance(Im2colConv(made, made.out_channels, packed_weight(made))(x), expected(made, x, True)) < PACKED


@pytest.mark.parametrize("options", [{"into": 3}, {"out": 4}, {"groups": 2}, {"dilation": 2}, {"kernel": 9}], ids=str)
def test_what_it_leaves(options):
    assert not supports(conv(**options))


def test_nan_and_infinity():
    made, x = conv(), maps(1, 8, 12, 12)
    x[0, 3, 5, 5], x[0, 2, 9, 9] = float("nan"), float("inf")
    for relu in (True, False):
        y, torchs = Im2colConv(made, rectified(made, relu), packed_weight(made))(x), expected(made, x, relu)
        assert y.isnan().equal(torchs.isnan())
        assert y.isinf().equal(torchs.isinf())
