"""The arguments of kernels that work on tiles of feature maps; `_tile_kernels` says what a tile is."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from torch import Tensor

Pair = tuple[int, int]  # (vertical, horizontal)


class TileArgs(ctypes.Structure):
    """Arguments of a kernel that works on tiles. Addresses are in bytes, strides in floats, other lengths in pixels."""

    NAMES = (
        "source", "target",  # addresses of the input and of the output; one may be a tile buffer
        "bias",  # address of a float per channel
        "padding_pixel",  # address of the channels to read for any pixel outside the map
        "positions",  # address of a byte per tile and channel, which takes the positions of maxima
        "scale",  # address of a float per tile of an image
        "height", "width", "pad_top", "pad_left",  # of the map
        "grid_rows", "grid_columns",  # tiles of an image
        "start", "stop",  # range of tiles to process
        "channels", "pixel_stride", "tile_pitch", "element_pitch",
        "relu_channels",  # ReLU applies to this number of leading channels
    )  # fmt: skip
    _fields_ = [(name, ctypes.c_int64) for name in NAMES]  # ctypes wants a list

    @classmethod
    def for_input(
        cls,
        x: Tensor,
        padding: Sequence[int],
        padding_pixel: Tensor,
        *,
        grid: Sequence[int],
        tiles: tuple[int, int],
        target: int,
        tile_pitch: int,
    ) -> TileArgs:
        """Return the arguments of a kernel that reads tiles of x, (n, c, h, w), and writes to the tile buffer at `target`.

        `grid` is (rows, columns) of the tiles of an image, `tiles` the range (start, stop) to process.
        """
        _, channels, height, width = x.shape
        return cls(
            source=x.data_ptr(), target=target, padding_pixel=padding_pixel.data_ptr(), height=height, width=width,
            pad_top=padding[0], pad_left=padding[1], grid_rows=grid[0], grid_columns=grid[1], start=tiles[0], stop=tiles[1],
            channels=channels, pixel_stride=x.stride(3), tile_pitch=tile_pitch, element_pitch=channels,
        )  # fmt: skip

    @classmethod
    def for_output(
        cls,
        y: Tensor,
        bias: Tensor,
        *,
        source: int,
        grid: Sequence[int],
        tiles: tuple[int, int],
        tile_pitch: int,
        element_pitch: int | None = None,
        relu_channels: int = 0,
    ) -> TileArgs:
        """Return the arguments of a kernel that reads the tile buffer at `source` and writes tiles of y, (n, c, h, w).

        `grid` and `tiles` are those of `for_input`. `element_pitch` is by default the number of channels.
        """
        _, channels, height, width = y.shape
        return cls(
            source=source, target=y.data_ptr(), bias=bias.data_ptr(), height=height, width=width, grid_rows=grid[0],
            grid_columns=grid[1], start=tiles[0], stop=tiles[1], channels=channels, pixel_stride=y.stride(3),
            tile_pitch=tile_pitch, element_pitch=element_pitch or channels, relu_channels=relu_channels,
        )  # fmt: skip
