"""A strided convolution by space to depth agrees with torch for all windows, strides, paddings and memory layouts."""

from functools import partial

import pytest
import torch
from convolutions import PACKED, WINOGRAD, conv, expected, maps, relu_channels
from helpers import distance
from torch import nn
from torch.nn import functional as F

from inceptionzoo.kernels import _buffers as buffers
from inceptionzoo.kernels import _winograd as winograd
from inceptionzoo.kernels._im2col import Im2colConv, packed_weight
from inceptionzoo.kernels._space_to_depth import SpaceToDepthConv, fold_stride, supports


def winograd_op(layer: nn.Conv2d, relu: bool | int, x: torch.Tensor, m: int = 4) -> SpaceToDepthConv:
    folded = fold_stride(layer)
    make_op = partial(winograd.WinogradConv, folded, relu_channels(layer, relu), m, winograd.transform_weight(folded, m))
    return SpaceToDepthConv(layer, make_op, x.shape)


OPTIONS = [
    {"into": 3, "kernel": 7, "stride": 2},
    {"into": 3, "kernel": 7, "stride": 2, "padding": 0},
    {"into": 1, "kernel": 5, "stride": 2, "padding": (0, 3)},
    {"into": 4, "kernel": (5, 7), "stride": (1, 3)},
    {"into": 8, "kernel": 7, "stride": (3, 2), "out": 24},
    {"into": 3, "kernel": 11, "stride": 4, "padding": 2},
]


@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize("side", [13, 14, 31])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_space_to_depth_agrees_with_torch(options, side, relu):
    layer = conv(**options)
    assert supports(layer)
    folded = fold_stride(layer)
    for x in (maps(3, layer.in_channels, side, side + 2), maps(2, layer.in_channels + 5, side, side)[:, 5:]):
        direct = SpaceToDepthConv(
            layer, lambda _: Im2colConv(folded, relu_channels(layer, relu), packed_weight(folded)), x.shape
        )
        assert distance(direct(x), expected(layer, x, relu)) < PACKED
        for m in winograd.accurate_tiles(folded):
            assert distance(winograd_op(layer, relu, x, m)(x), expected(layer, x, relu)) < WINOGRAD


def test_folded_convolution_of_pixel_unshuffle():
    """torch's pixel_unshuffle has the channels in another order."""
    layer = conv(into=3, kernel=7, stride=2)
    x, folded = maps(2, 3, 14, 16), fold_stride(layer)
    unshuffled = F.pixel_unshuffle(F.pad(x, (3, 3, 3, 3)), 2).unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
    assert folded.in_channels == 12
    assert folded.kernel_size == (4, 4)
    assert distance(folded(unshuffled), expected(layer, x, False)) < PACKED


def test_images_in_several_parts(monkeypatch):
    layer, x = conv(into=3, kernel=7, stride=2), maps(5, 3, 31, 33)
    monkeypatch.setattr(buffers, "CACHE_BYTES", 1 << 15)
    assert len(list(buffers.cache_blocks(5, 19 * 20 * 12))) == 3
    assert distance(winograd_op(layer, True, x)(x), expected(layer, x, True)) < WINOGRAD


def test_nan_does_not_reach_the_next_call():
    layer, x = conv(into=3, kernel=7, stride=2), maps(1, 3, 15, 15)
    op = winograd_op(layer, False, x)
    assert op(torch.full_like(x, float("nan"))).isnan().all()
    assert distance(op(x), expected(layer, x, False)) < WINOGRAD


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"kernel": (1, 7), "stride": 2},
        {"kernel": 7, "stride": 2, "groups": 2},
        {"kernel": 7, "stride": 2, "dilation": 2},
        {"kernel": 11, "stride": 5},
    ],
    ids=str,
)
def test_convolutions_unsupported_by_space_to_depth(options):
    assert not supports(conv(**options))
