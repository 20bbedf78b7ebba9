"""Winograd's method gives the convolution's outputs, on every border, thread and layout."""

import pytest
import torch
from convolutions import WINOGRAD, conv, expected, maps, rectified
from helpers import distance
from torch import nn

from inceptionzoo.inference.cpu import _buffers as buffers
from inceptionzoo.inference.cpu._winograd import WinogradConv, supports, transform_weight


def made_for(made: nn.Conv2d, relu: bool | int, x: torch.Tensor, outputs: int = 4) -> WinogradConv:
    return WinogradConv(made, rectified(made, relu), outputs, transform_weight(made, outputs), x.shape)


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("relu", [True, False, 5])
@pytest.mark.parametrize("side", [7, 12, 30])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 0},
        {"padding": 2},
        {"padding": (0, 1)},
        {"into": 12, "out": 20},
        {"into": 64, "out": 48},
        {"kernel": 5},
        {"kernel": (1, 7)},
        {"kernel": (7, 1)},
        {"kernel": (1, 3)},
        {"kernel": (3, 5), "padding": 0},
        {"into": 256, "out": 128},
    ],
    ids=str,
)
def test_winograd(options, side, relu, outputs):
    made = conv(**options)
    assert supports(made)
    x = maps(3, made.in_channels, side, side + 2)
    way = made_for(made, relu, x, outputs)
    y = way(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert distance(y, expected(made, x, relu)) < WINOGRAD
    other = maps(1, made.in_channels, side + 3, side)
    assert distance(way(other), expected(made, other, relu)) < WINOGRAD


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_winograd_on_threads_and_in_parts(threads, monkeypatch):
    """Few tiles a part, the last part overlapping: every tile is worked on, by whichever thread."""
    monkeypatch.setattr("inceptionzoo.inference.cpu._buffers.CACHE_BYTES", 1 << 14)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        made, x = conv(), maps(2, 8, 45, 51)
        way = made_for(made, True, x)
        assert len(list(buffers.cache_blocks(2 * 12 * 13, 36 * 16))) > 20
        assert distance(way(x), expected(made, x, True)) < WINOGRAD
    finally:
        torch.set_num_threads(before)


def test_winograd_of_some_channels_and_other_layouts():
    made, wide = conv(), maps(2, 40, 9, 11)
    for x in (wide[:, 8:16], wide[:, 32:], maps(2, 8, 9, 11).contiguous(), maps(2, 8, 22, 11)[:, :, ::2], wide[1:, :8]):
        assert distance(made_for(made, False, x)(x), expected(made, x, False)) < WINOGRAD


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 1},
        {"kernel": 2},
        {"kernel": 9},
        {"stride": 2},
        {"dilation": 2},
        {"groups": 2},
        {"into": 3},
        {"out": 4},
        {"into": 8192},
    ],
    ids=str,
)
def test_what_winograd_leaves(options):
    assert not supports(conv(**options))


def test_nan_and_infinity():
    """They reach every output that they touch; others of the same tiles too."""
    x, made = maps(1, 8, 12, 12), conv()
    x[0, 3, 5, 5] = float("nan")
    for relu in (True, False):
        assert made_for(made, relu, x)(x)[..., 4:7, 4:7].isnan().all()
    y = maps(1, 8, 12, 12).index_fill(1, torch.tensor(0), float("inf"))
    assert not made_for(made, False, y)(y).isfinite().any()
