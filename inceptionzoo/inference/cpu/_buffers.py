"""Memory of the CPU kernels: channels_last tensors, scratch memory, and the division of work into parts that fit the cache."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

CACHE_BYTES = 4 << 20  # size of the scratch memory that one part of an op's work uses


def channels_last_rows(x: Tensor) -> Tensor:
    """Return x, (n, c, h, w), or a channels_last copy if its channels are not contiguous or its pixels not evenly spaced.

    A slice of the channels of a channels_last tensor is returned as it is: its pixels are `x.stride(3)` floats apart.
    """
    _, _, height, width = x.shape
    pixel_stride = x.stride(3)
    is_even = x.stride() == (height * width * pixel_stride, 1, width * pixel_stride, pixel_stride)
    return x if is_even else x.contiguous(memory_format=torch.channels_last)


def empty_channels_last(count: int, channels: int, height: int, width: int) -> Tensor:
    """Return an uninitialised tensor (n, c, h, w) in channels_last memory."""
    return torch.empty((count, channels, height, width), memory_format=torch.channels_last)


def cache_blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Divide `count` items of `size` floats each into about equal parts that fit the cache; yield (start, stop) of each."""
    parts = max(1, round(count * size * 4 / CACHE_BYTES))
    step = -(-count // parts)
    for start in range(0, count, step):
        yield start, min(start + step, count)


class ScratchArena:
    """Scratch memory by name. Buffers that became too small are kept, because launches may hold their addresses."""

    def __init__(self) -> None:
        self._allocations: dict[str, list[Tensor]] = {}

    def address(self, name: str, size: int) -> int:
        """Return the address of `size` uninitialised floats. Calls with the same name share the memory."""
        return self._buffer(name, size, torch.empty).data_ptr()

    def zeros(self, name: str, size: int) -> Tensor:
        """Return `size` floats, which are 0 when first allocated. Calls with the same name share the memory."""
        return self._buffer(name, size, torch.zeros)[:size]

    def _buffer(self, name: str, size: int, allocate: Callable[[int], Tensor]) -> Tensor:
        buffers = self._allocations.setdefault(name, [])
        if not buffers or len(buffers[-1]) < size:
            buffers.append(allocate(size))
        return buffers[-1]

    @property
    def size(self) -> int:
        """Number of floats in all buffers."""
        return sum(len(buffer) for buffers in self._allocations.values() for buffer in buffers)


class _ThreadScratch(threading.local):
    def __init__(self) -> None:
        self.arena = ScratchArena()


_THREAD_SCRATCH = _ThreadScratch()


def thread_scratch() -> ScratchArena:
    """Return the scratch arena of the calling thread."""
    return _THREAD_SCRATCH.arena
