"""Convolution by Winograd's algorithm agrees with torch for all paddings, memory layouts and numbers of threads."""

import copy

import pytest
import torch
from convolutions import WINOGRAD, conv, expected, maps, relu_channels
from helpers import distance
from torch import nn

from inceptionzoo.kernels import _buffers as buffers
from inceptionzoo.kernels._winograd import WinogradConv, accurate_tiles, supports, transform_weight


def winograd_op(layer: nn.Conv2d, relu: bool | int, x: torch.Tensor, m: int = 4) -> WinogradConv:
    return WinogradConv(layer, relu_channels(layer, relu), m, transform_weight(layer, m), x.shape)


@pytest.mark.parametrize("m", [2, 4])
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
        {"kernel": 4, "into": 12, "padding": 0},
        {"kernel": (1, 7)},
        {"kernel": (7, 1)},
        {"kernel": (1, 3)},
        {"kernel": (3, 5), "padding": 0},
        {"into": 256, "out": 128},
        {"bias": False},
    ],
    ids=str,
)
def test_winograd_agrees_with_torch(options, side, relu, m):
    layer = conv(**options)
    assert supports(layer)
    x = maps(3, layer.in_channels, side, side + 2)
    op = winograd_op(layer, relu, x, m)
    y = op(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert distance(y, expected(layer, x, relu)) < WINOGRAD
    other = maps(1, layer.in_channels, side + 3, side)
    assert distance(op(other), expected(layer, other, relu)) < WINOGRAD


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_winograd_in_several_parts(threads, monkeypatch):
    """Each part has few tiles, and the register blocks of the last part overlap: every tile is still computed."""
    monkeypatch.setattr(buffers, "CACHE_BYTES", 1 << 14)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        layer, x = conv(), maps(2, 8, 45, 51)
        op = winograd_op(layer, True, x)
        assert len(list(buffers.cache_blocks(2 * 12 * 13, 36 * 16))) > 20
        assert distance(op(x), expected(layer, x, True)) < WINOGRAD
    finally:
        torch.set_num_threads(threads_before)


def test_winograd_with_few_tiles_for_each_thread():
    layer, x, threads_before = conv(), maps(1, 8, 14, 14), torch.get_num_threads()
    torch.set_num_threads(8)  # two tiles each, fewer than a register block
    try:
        assert distance(winograd_op(layer, True, x)(x), expected(layer, x, True)) < WINOGRAD
    finally:
        torch.set_num_threads(threads_before)


def test_winograd_of_slices_and_other_layouts():
    layer, wide = conv(), maps(2, 40, 9, 11)
    for x in (wide[:, 8:16], wide[:, 32:], maps(2, 8, 9, 11).contiguous(), maps(2, 8, 22, 11)[:, :, ::2], wide[1:, :8]):
        assert distance(winograd_op(layer, False, x)(x), expected(layer, x, False)) < WINOGRAD


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 1},
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
def test_convolutions_unsupported_by_winograd(options):
    assert not supports(conv(**options))


def test_winograd_keeps_nan_and_infinity():
    """Every output whose window has a nan or an infinity is nan or infinite. Other outputs of the same tile may be, too."""
    x, layer = maps(1, 8, 12, 12), conv()
    x[0, 3, 5, 5] = float("nan")
    for relu in (True, False):
        assert winograd_op(layer, relu, x)(x)[..., 4:7, 4:7].isnan().all()
    y = maps(1, 8, 12, 12).index_fill(1, torch.tensor(0), float("inf"))
    assert not winograd_op(layer, False, y)(y).isfinite().any()


@pytest.mark.parametrize("kernel", [(a, b) for a in range(1, 8) for b in range(1, 8) if max(a, b) > 1], ids=str)
@torch.no_grad()
def test_every_offered_tile_is_accurate(kernel):
    layer = nn.Conv2d(8, 16, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
    tiles = accurate_tiles(layer)
    assert tiles[0] == 2
    for seed in range(6):
        torch.manual_seed(seed)
        layer.reset_parameters()
        x = (torch.randn(1, 8, 9, 11) + seed).contiguous(memory_format=torch.channels_last)
        exact = copy.deepcopy(layer).double()(x.double())
        for tile in tiles:
            y = WinogradConv(layer, 0, tile, transform_weight(layer, tile), x.shape)(x)
            assert (y - exact).abs().max() < 2e-5 * exact.abs().max(), tile
