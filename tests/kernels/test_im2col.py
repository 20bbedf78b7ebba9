"""Convolution by im2col agrees with torch for all kernel sizes, strides, paddings and memory layouts."""

import pytest
from convolutions import PACKED, conv, expected, maps, relu_channels
from helpers import distance

from inceptionzoo.kernels import _buffers as buffers
from inceptionzoo.kernels._im2col import Im2colConv, packed_weight, supports


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
        {"bias": False},
    ],
    ids=str,
)
def test_im2col_agrees_with_torch(options, side, relu):
    layer = conv(**options)
    assert supports(layer)
    if options.get("kernel") == 5:
        side += 4  # this kernel has no vertical padding
    op = Im2colConv(layer, relu_channels(layer, relu), packed_weight(layer))
    wide = maps(3, layer.in_channels + 8, side, side + 2)
    for x in (wide[:, : layer.in_channels].contiguous(), wide[:, 8:], wide[:1, : layer.in_channels], wide[:, :-8]):
        assert distance(op(x), expected(layer, x, relu)) < PACKED


def test_im2col_in_several_parts(monkeypatch):
    monkeypatch.setattr(buffers, "CACHE_BYTES", 1 << 12)
    layer, x = conv(), maps(2, 8, 19, 23)
    op = Im2colConv(layer, layer.out_channels, packed_weight(layer))
    assert distance(op(x), expected(layer, x, True)) < PACKED


def test_large_scratch_memory_is_freed_after_the_call(monkeypatch):
    monkeypatch.setattr(buffers, "MAX_KEPT_BYTES", 0)
    layer = conv()
    Im2colConv(layer, 0, packed_weight(layer))(maps(1, 8, 9, 9))
    assert buffers.thread_scratch().size == 0


@pytest.mark.parametrize("options", [{"into": 3}, {"out": 4}, {"groups": 2}, {"dilation": 2}, {"kernel": 9}], ids=str)
def test_convolutions_unsupported_by_im2col(options):
    assert not supports(conv(**options))


def test_im2col_keeps_nan_and_infinity():
    layer, x = conv(), maps(1, 8, 12, 12)
    x[0, 3, 5, 5], x[0, 2, 9, 9] = float("nan"), float("inf")
    for relu in (True, False):
        y = Im2colConv(layer, relu_channels(layer, relu), packed_weight(layer))(x)
        reference = expected(layer, x, relu)
        assert y.isnan().equal(reference.isnan())
        assert y.isinf().equal(reference.isinf())
