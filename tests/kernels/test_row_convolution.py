"""Convolution by kernels of height 1 agrees with torch for all widths, strides, paddings and memory layouts."""

import pytest
import torch
from convolutions import PACKED, conv, expected, maps, relu_channels
from helpers import distance

from inceptionzoo.kernels._row_convolution import RowConv, packed_weight, supports


@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize("side", [1, 7, 30])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (1, 7)},
        {"kernel": (1, 41), "into": 32, "out": 32},
        {"kernel": (1, 40), "into": 1, "out": 33},
        {"kernel": (1, 3), "into": 3},
        {"kernel": (1, 5), "into": 7, "out": 9, "stride": (1, 3)},
        {"kernel": (1, 2), "padding": (0, 2), "stride": (1, 2)},
        {"kernel": (1, 128), "into": 2},
        {"kernel": (1, 3), "bias": False},
    ],
    ids=str,
)
def test_rows_agree_with_torch(options, side, relu):
    layer = conv(**options)
    assert supports(layer)
    wide = maps(3, layer.in_channels + 8, side, side + 2)
    for x in (wide[:, : layer.in_channels].contiguous(), wide[:, 8:], wide[:1, : layer.in_channels], wide[:, :-8]):
        op = RowConv(layer, relu_channels(layer, relu), packed_weight(layer), x.shape)
        assert distance(op(x), expected(layer, x, relu)) < PACKED


def test_rows_without_padding():
    layer, x = conv(kernel=(1, 5), padding=0), maps(2, 8, 3, 5)
    y = RowConv(layer, 0, packed_weight(layer), x.shape)(x)
    assert y.shape == (2, 16, 3, 1)
    assert distance(y, expected(layer, x, False)) < PACKED


@pytest.mark.parametrize("padding", [0, (0, 1)])
def test_nan_stays_in_its_row(padding):
    """The depth of 3 * 3 is padded to 12: the last windows of a row must not read the next row or an earlier map."""
    layer, x = conv(kernel=(1, 3), into=3, padding=padding), maps(2, 3, 4, 9)
    RowConv(layer, 0, packed_weight(layer), x.shape)(torch.full_like(x, float("nan")))
    x = x[..., :7].clone(memory_format=torch.channels_last)
    op = RowConv(layer, 0, packed_weight(layer), x.shape)
    finite = op(x)
    x[0, :, 2], x[1, :, 0] = float("-inf"), float("nan")
    y = op(x)
    broken = torch.tensor([[False, False, True, False], [True, False, False, False]])
    assert finite.isfinite().all()
    assert not y.movedim(1, -1)[broken].isfinite().any()
    assert y.movedim(1, -1)[~broken].equal(finite.movedim(1, -1)[~broken])


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 1},
        {"kernel": (7, 1)},
        {"kernel": (1, 3), "padding": (1, 1)},
        {"kernel": (1, 3), "stride": 2},
        {"kernel": (1, 3), "dilation": 2},
        {"kernel": (1, 3), "groups": 2},
        {"kernel": (1, 3), "out": 4},
        {"kernel": (1, 129)},
    ],
    ids=str,
)
def test_convolutions_unsupported_by_rows(options):
    assert not supports(conv(**options))
