"""Sizes of windows and their padding. A size is an int, for a square, or (height, width), in pixels. No torch."""

from __future__ import annotations

from typing import Literal

Size = int | tuple[int, int]
Padding = Literal["half", "same", "valid"]  # explained in `Conv`


def as_pair(size: Size) -> tuple[int, int]:
    """Return (height, width) of a size."""
    return (size, size) if isinstance(size, int) else size


def dilated_extent(kernel: Size, dilation: int) -> tuple[int, int]:
    """Return (height, width) of the pixels that a dilated kernel spans: (kernel - 1) * dilation + 1."""
    height, width = as_pair(kernel)
    return (height - 1) * dilation + 1, (width - 1) * dilation + 1


def half_padding(kernel: Size, padding: Padding, dilation: int = 1) -> tuple[int, int]:
    """Return the fixed padding on each side, (height, width).

    Every fixed padding of the library is computed here. It is 0 for "valid". It is also 0 for "same", whose padding depends on
    the input's size.
    """
    height, width = dilated_extent(kernel, dilation)
    return ((height - 1) // 2, (width - 1) // 2) if padding == "half" else (0, 0)
