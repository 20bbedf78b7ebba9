"""Memory of the CPU kernels: channels_last tensors, scratch memory, and the division of work into parts that fit the cache."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import isfinite

import torch
from torch import Tensor

MAX_KEPT_BYTES = 32 << 20  # of scratch memory that a thread keeps between two calls of ops
CACHE_BYTES = 2 << 20  # size of the scratch memory that one part of an op's work uses; the caches of two cores hold it


def row_strides(x: Tensor) -> tuple[int, int, int, int] | None:
    """Return the strides of x, (n, c, h, w), if its channels are contiguous and its pixels evenly spaced, else None.

    The strides are those of x for sides longer than 1. Torch leaves the strides of other sides arbitrary, so they are computed
    from the distance between pixels. Every address that a kernel computes from strides uses the result.
    """
    count, channels, height, width = x.shape
    image, _, row, column = x.stride()
    pitch = column if width > 1 else row if height > 1 else image if count > 1 else channels
    strides = height * width * pitch, 1, width * pitch, pitch
    is_even = all(side == 1 or stride == own for side, stride, own in zip(x.shape, strides, x.stride(), strict=True))
    return strides if is_even else None


def channels_last_rows(x: Tensor) -> Tensor:
    """Return x, (n, c, h, w), as a view with `row_strides`, or a channels_last copy if it has none.

    A slice of the channels of a channels_last tensor is not copied: its pixels are `x.stride(3)` floats apart.
    """
    strides = row_strides(x)
    if strides is None:
        return x.contiguous(memory_format=torch.channels_last)
    return x if x.stride() == strides else x.as_strided(x.shape, strides)


def dense(x: Tensor) -> Tensor:
    """Return x, (n, c, h, w), in contiguous or channels_last memory, with torch's own strides for a new tensor of its format.

    x is copied, to channels_last, if it is expanded, cropped, transposed or otherwise in neither format.
    """
    if x.is_contiguous() and not x.is_contiguous(memory_format=torch.channels_last):
        _, channels, height, width = x.shape
        strides = channels * height * width, height * width, width, 1
        return x if x.stride() == strides else x.as_strided(x.shape, strides)
    return channels_last_rows(x.contiguous(memory_format=torch.channels_last))


def empty_channels_last(count: int, channels: int, height: int, width: int) -> Tensor:
    """Return an uninitialised tensor (n, c, h, w) in channels_last memory."""
    shape = count, channels, height, width
    return torch.empty(shape, dtype=torch.float32, device="cpu", memory_format=torch.channels_last)


def replace_not_finite(y: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    """Return the maps y, (n, c, h, w), with those that contain nan or inf taken from `compute()`, which returns all n."""
    if isfinite(y.sum().item()):  # much faster than to look at each value; it can overflow
        return y
    finite = y.flatten(1).isfinite().all(1)
    if finite.all():
        return y
    y = y.clone()
    y[~finite] = compute()[~finite]
    return y


def cache_blocks(count: int, size: int, weight_bytes: int = 0) -> Iterator[tuple[int, int]]:
    """Divide `count` items of `size` floats each into about equal parts that fit the cache; yield (start, stop) of each.

    Each part reads `weight_bytes` again. If they are many, parts are up to twice as large.
    """
    part_bytes = min(max(CACHE_BYTES, weight_bytes), 2 * CACHE_BYTES)
    step = -(-count // max(1, round(count * size * 4 / part_bytes)))
    for start in range(0, count, step):
        yield start, min(start + step, count)


class ScratchArena:
    """Scratch memory by name. Buffers that became too small are kept, because launches may hold their addresses."""

    def __init__(self) -> None:
        self._allocations: dict[str, list[Tensor]] = {}

    def address(self, name: str, size: int) -> int:
        """Return the address of `size` uninitialised floats. Calls with the same name share the memory."""
        return self.empty(name, size).data_ptr()

    def empty(self, name: str, size: int) -> Tensor:
        """Return `size` uninitialised floats. Calls with the same name share the memory."""
        return self._buffer(name, size, torch.empty)[:size]

    def zeros(self, name: str, size: int) -> Tensor:
        """Return `size` floats, which are 0 when first allocated. Calls with the same name share the memory."""
        return self._buffer(name, size, torch.zeros)[:size]

    def _buffer(self, name: str, size: int, allocate: Callable[..., Tensor]) -> Tensor:
        buffers = self._allocations.setdefault(name, [])
        if not buffers or len(buffers[-1]) < size:
            buffers.append(allocate(size, dtype=torch.float32, device="cpu"))
        return buffers[-1]

    def trim(self) -> None:
        """Forget all buffers if they are many times as large as a part of an op's work. No launch may hold their addresses."""
        if 4 * self.size > MAX_KEPT_BYTES:
            self._allocations.clear()

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
