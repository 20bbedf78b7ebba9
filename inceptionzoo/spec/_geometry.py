"""Sizes of windows and their padding. A size is an int, for a square, or (height, width), in pixels. No torch."""

from __future__ import annotations

from typing import Literal

Size = int | tuple[int, int]
Padding = Literal["half", "same", "valid"]  # explained in `Conv`


def as_pair(size: Size) -> tuple[int, int]:
    """Return (height, width) of a size."""
    return (size, size) if isinstance(size, int) else size


def dilated_extent(kernel: Size, dilation: Size) -> tuple[int, int]:
    """Return (height, width) of the pixels that a dilated kernel spans: (kernel - 1) * dilation + 1."""
    (height, width), (vertical, horizontal) = as_pair(kernel), as_pair(dilation)
    return (height - 1) * vertical + 1, (width - 1) * horizontal + 1


def half_padding(kernel: Size, padding: Padding, dilation: int = 1) -> tuple[int, int]:
    """Return the fixed padding on each side, (height, width).

    Every fixed padding of the library is computed here. It is 0 for "valid". It is also 0 for "same", whose padding depends on
    the input's size.
    """
    height, width = dilated_extent(kernel, dilation)
    return ((height - 1) // 2, (width - 1) // 2) if padding == "half" else (0, 0)


def window_positions(side: int, extent: int, stride: int, padding: int, *, ceil: bool = False) -> int:
    """Return how many positions a window of `extent` pixels has along a side; below 1 if the side is too small.

    `padding` is on both ends. With `ceil` the number is rounded up, as by torch's `ceil_mode`.
    """
    span = side + 2 * padding - extent
    count = (-(-span // stride) if ceil else span // stride) + 1
    return count - (ceil and (count - 1) * stride >= side + padding)  # torch drops a window that would start in the end padding
