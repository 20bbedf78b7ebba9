"""Memory that the compiled passes work in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

CACHE = 4 << 20  # bytes that are worked on at a time


def by_pixel(x: Tensor) -> Tensor:
    """Return x, (n, c, h, w), with a pixel's channels in one piece and pixels evenly apart: so is a slice of channels too."""
    _, _, height, width = x.shape
    apart = x.stride(3)
    even = x.stride() == (height * width * apart, 1, width * apart, apart)
    return x if even else x.contiguous(memory_format=torch.channels_last)


def outputs(shape: Sequence[int], kernel: Sequence[int], padding: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the sides (h', w') of a convolution's output for an input (n, c, h, w)."""
    axes = zip(shape[2:], kernel, padding, stride, strict=True)
    return [(side + 2 * pad - taps) // step + 1 for side, taps, pad, step in axes]


def parts(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of parts of `count` things of `size` floats each, about equal, that the cache holds."""
    number = max(1, round(count * size * 4 / CACHE))
    step = -(-count // number)
    for first in range(0, count, step):
        yield first, min(first + step, count)


_KEPT = threading.local()


def workspace(name: str, size: int) -> int:
    """Return the address of `size` floats; a thread's next call by this name has the same memory."""
    kept: dict[str, Tensor] = _KEPT.__dict__
    if name not in kept or len(kept[name]) < size:
        kept[name] = torch.empty(size)
    return kept[name].data_ptr()
