"""Memory that the compiled passes work in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

CACHE_BYTES = 4 << 20  # bytes that are worked on at a time


def channels_last_rows(x: Tensor) -> Tensor:
    """Return x, (n, c, h, w), with a pixel's channels in one piece and pixels evenly apart: so is a slice of channels too."""
    _, _, height, width = x.shape
    apart = x.stride(3)
    even = x.stride() == (height * width * apart, 1, width * apart, apart)
    return x if even else x.contiguous(memory_format=torch.channels_last)


def output_size(shape: Sequence[int], kernel: Sequence[int], padding: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the sides (h', w') of a convolution's output for an input (n, c, h, w)."""
    axes = zip(shape[2:], kernel, padding, stride, strict=True)
    return [(side + 2 * pad - taps) // step + 1 for side, taps, pad, step in axes]


def cache_blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of parts of `count` things of `size` floats each, about equal, that the cache holds."""
    number = max(1, round(count * size * 4 / CACHE_BYTES))
    step = -(-count // number)
    for first in range(0, count, step):
        yield first, min(first + step, count)


class ScratchArena:
    """Memory by name; what a larger one has taken the place of is kept too, for who has its address."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Tensor]] = {}

    def address(self, name: str, size: int) -> int:
        """Return the address of `size` floats; the next call by this name has the same memory."""
        return self._memory(name, size, torch.empty).data_ptr()

    def zeros(self, name: str, size: int) -> Tensor:
        """Return `size` floats that were 0 when they were first had by this name."""
        return self._memory(name, size, torch.zeros)[:size]

    def _memory(self, name: str, size: int, make: Callable[[int], Tensor]) -> Tensor:
        kept = self.kept.setdefault(name, [])
        if not kept or len(kept[-1]) < size:
            kept.append(make(size))
        return kept[-1]

    @property
    def size(self) -> int:
        """How many floats it holds."""
        return sum(len(memory) for kept in self.kept.values() for memory in kept)


class _ThreadScratch(threading.local):
    def __init__(self) -> None:
        self.room = ScratchArena()


_THREAD = _ThreadScratch()


def thread_scratch() -> ScratchArena:
    """Return this thread's own room."""
    return _THREAD.room


def empty_channels_last(count: int, channels: int, height: int, width: int) -> Tensor:
    """Return memory for maps (n, c, h, w) whose pixels' channels lie in one piece."""
    return torch.empty((count, channels, height, width), memory_format=torch.channels_last)
