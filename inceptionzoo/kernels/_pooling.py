"""What max and average pools have in common: one kernel that reads each window of the input and writes one pixel."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import Tensor, nn

from ..spec import Size, as_tuple, window_positions
from ._buffers import ScratchArena
from ._kernel import KernelLaunch, KernelOp
from ._tile_args import Pair, TileArgs

MAX_WINDOW = 25  # pixels; the kernel loads all pixels of a window at once


def supports_window(pool: nn.MaxPool2d | nn.AvgPool2d) -> bool:
    """Return whether the size of the pool's window is supported."""
    return 1 < prod(as_tuple(pool.kernel_size, 2)) <= MAX_WINDOW


def window_fits(pool: nn.MaxPool2d, x: Tensor) -> bool:
    """Return whether torch accepts x, (n, c, h, w), and the padding: it raises an error if the pool has no output."""
    axes = zip(x.shape[2:], *map(as_pair, (pool.kernel_size, pool.stride, pool.padding)), strict=True)
    return all(2 * axis[3] <= axis[1] and window_positions(*axis, ceil=pool.ceil_mode) > 0 for axis in axes)


class PoolOp(KernelOp):
    """Base of the pools. A subclass sets the address of its kernel and the channels of a padding pixel."""

    kernel: int
    padding_pixel: Tensor

    def __init__(self, pool: nn.MaxPool2d | nn.AvgPool2d) -> None:
        assert pool.stride is not None
        self.kernel_size, self.stride, self.padding = map(as_pair, (pool.kernel_size, pool.stride, pool.padding))

    def launches(self, x: Tensor, y: Tensor, scratch: ScratchArena) -> Iterator[KernelLaunch]:  # noqa: ARG002  # pools need none
        count, _, *grid = y.shape  # a window is a tile, and y a tile buffer with tiles of one element
        tiles = 0, count * grid[0] * grid[1]
        yield KernelLaunch(self.kernel, TileArgs.for_input(
            x, self.padding, self.padding_pixel, grid=grid, tiles=tiles, target=y.data_ptr(), tile_pitch=y.stride(3)
        ))  # fmt: skip


def as_pair(size: Size) -> Pair:
    """Return (height, width) of a size that may be one number."""
    height, width = as_tuple(size, 2)
    return height, width
