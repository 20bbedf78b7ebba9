"""Convolution with gradients by Winograd's algorithm: its output, and the gradients of its input and of its weight.

With the matrices of `_winograd_matrices`, an output tile is A^T [(G g G^T) * (B^T d B)] A for a filter g and an input tile d:

- The gradient of the input is the convolution of the output's gradient with the turned filters.
- The gradient of the weight is G^T [sum over tiles of (B^T d B) * (A e A^T)] G, where e is a tile of the output's gradient.

Each sum over channels or over tiles is a batched product of matrices, one for each element of a tile, which torch computes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ._buffers import cache_blocks, channels_last_rows, empty_channels_last
from ._jit import choose_vector_width, launch
from ._tile_args import Pair, TileArgs
from ._tile_transforms import gather_kernel, scatter_kernel
from ._winograd import TILE_PADDING
from ._winograd_matrices import Matrix, WinogradMatrices, winograd_matrices

OUTPUT_TILE = 4  # m of F(m, r); with it, results are within about 1e-5 of the largest


class _Memory(threading.local):
    """Scratch memory of the calling thread, by name."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}

    def tiles(self, name: str, elements: int, count: int, channels: int) -> Tensor:
        """Return an uninitialised tile buffer as (elements, count, channels); calls with the same name share the memory."""
        pitch = elements * channels + TILE_PADDING
        return self._buffer(name, count * pitch).as_strided((elements, count, channels), (channels, pitch, 1))

    def products(self, name: str, elements: int, count: int, channels: int) -> Tensor:
        """Return an uninitialised contiguous tensor (elements, count, channels), for a result of torch.bmm.

        With other strides of the result, torch computes one matrix after the other.
        """
        size = elements * count * channels
        return self._buffer(name, size)[:size].view(elements, count, channels)

    def _buffer(self, name: str, size: int) -> Tensor:
        buffer = self.buffers.get(name)
        if buffer is None or len(buffer) < size:
            with torch.inference_mode(False):  # the buffer is used inside and outside of inference mode
                buffer = self.buffers[name] = torch.empty(size, dtype=torch.float32, device="cpu")
        return buffer


_MEMORY = _Memory()


@dataclass(frozen=True)
class _Transform:
    """A matrix for each axis."""

    down: Matrix
    across: Matrix

    @property
    def elements(self) -> int:
        """Number of elements of a transformed tile."""
        return len(self.down) * len(self.across)

    @property
    def transposed(self) -> _Transform:
        return _Transform(*(tuple(zip(*matrix, strict=True)) for matrix in (self.down, self.across)))

    @property
    def turned(self) -> _Transform:
        """The transform of tiles that are turned by 180 degrees first."""
        return _Transform(*(tuple(row[::-1] for row in matrix) for matrix in (self.down, self.across)))


@dataclass(frozen=True)
class _Algorithm:
    """The transforms of F(m, r) along both axes."""

    input: _Transform
    filter: _Transform
    output: _Transform

    @classmethod
    def of(cls, kernel_size: Pair) -> _Algorithm:
        axes: list[WinogradMatrices] = [winograd_matrices(OUTPUT_TILE if taps > 1 else 1, taps) for taps in kernel_size]
        return cls(*(_Transform(*(getattr(axis, name) for axis in axes)) for name in ("input", "filter", "output")))

    @property
    def step(self) -> Pair:
        """Height and width of an output tile, which are the distances between input tiles."""
        return len(self.output.down), len(self.output.across)

    def grid(self, height: int, width: int) -> Pair:
        """Return the rows and columns of tiles that cover an output of this size."""
        return -(-height // self.step[0]), -(-width // self.step[1])

    def blocks(self, grid: Pair, x: Tensor, y: Tensor) -> Iterator[Pair]:
        """Yield the ranges of tiles whose buffers fit the cache; x and y are the maps of the convolution."""
        elements, channels = self.input.elements, (x.shape[1], y.shape[1])
        return cache_blocks(len(x) * prod(grid), elements * max(channels), 4 * elements * prod(channels))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair, *, transposed: bool = False) -> Tensor:
    """Return the convolution with stride 1, (n, c, h, w) -> (n, k, h', w'); the weight is (k, c, kh, kw).

    With `transposed`, return the transposed convolution: (n, k, h', w') -> (n, c, h, w). All maps and the weight are in
    channels_last memory.
    """
    kernel_size = weight.shape[2], weight.shape[3]
    algorithm = _Algorithm.of(kernel_size)
    filters = _transform_filters(weight, algorithm.filter.turned if transposed else algorithm.filter)
    filters = filters if transposed else filters.transpose(1, 2)
    if transposed:
        padding = kernel_size[0] - 1 - padding[0], kernel_size[1] - 1 - padding[1]
    height, width = (size + 2 * side - taps + 1 for size, side, taps in zip(x.shape[2:], padding, kernel_size, strict=True))
    y = empty_channels_last(len(x), filters.shape[2], height, width)
    bias = y.new_zeros(y.shape[1]) if bias is None else bias
    grid = algorithm.grid(height, width)
    for start, stop in algorithm.blocks(grid, x, y):
        tiles = _gather("input", x, algorithm.input, padding, algorithm.step, grid, (start, stop))
        products = _MEMORY.products("output", algorithm.input.elements, stop - start, y.shape[1])
        torch.bmm(tiles, filters, out=products)
        _scatter(products, y, algorithm.output, bias, grid, (start, stop))
    return y


def weight_gradient(x: Tensor, y_gradient: Tensor, weight: Tensor, padding: Pair) -> Tensor:
    """Return the gradient of the weight, (k, c, kh, kw), from x, (n, c, h, w), and the output's gradient, (n, k, h', w')."""
    algorithm = _Algorithm.of((weight.shape[2], weight.shape[3]))
    grid = algorithm.grid(y_gradient.shape[2], y_gradient.shape[3])
    gradient = _MEMORY.products("filters", algorithm.filter.elements, len(weight), weight.shape[1])
    for start, stop in algorithm.blocks(grid, x, y_gradient):
        tiles = _gather("input", x, algorithm.input, padding, algorithm.step, grid, (start, stop))
        errors = _gather("output", y_gradient, algorithm.output.transposed, (0, 0), algorithm.step, grid, (start, stop))
        if start == 0:
            torch.bmm(errors.transpose(1, 2), tiles, out=gradient)
        else:
            part = _MEMORY.products("part", *gradient.shape)
            gradient += torch.bmm(errors.transpose(1, 2), tiles, out=part)
    result = torch.empty(weight.shape, dtype=torch.float32, device="cpu", memory_format=torch.channels_last)
    _scatter(gradient, result, algorithm.filter.transposed, x.new_zeros(x.shape[1]), (1, 1), (0, len(weight)))
    return result


def _transform_filters(weight: Tensor, transform: _Transform) -> Tensor:
    """Return the transformed filters, (elements, k, c): the weight is read as k maps of one tile."""
    return _gather("filters", weight, transform, (0, 0), (1, 1), (1, 1), (0, len(weight)))


def _gather(name: str, x: Tensor, transform: _Transform, padding: Pair, step: Pair, grid: Pair, tiles: Pair) -> Tensor:
    """Return the transformed tiles of x in this range, (elements, tiles, channels)."""
    x, channels = channels_last_rows(x), x.shape[1]
    padding_pixel = x.new_zeros(channels)
    buffer = _MEMORY.tiles(name, transform.elements, tiles[1] - tiles[0], channels)
    args = TileArgs.for_input(
        x, padding, padding_pixel, grid=grid, tiles=tiles, target=buffer.data_ptr(), tile_pitch=buffer.stride(1)
    )
    launch(gather_kernel(transform.down, transform.across, step, choose_vector_width(channels)), args)
    return buffer


def _scatter(tiles: Tensor, y: Tensor, transform: _Transform, bias: Tensor, grid: Pair, interval: Pair) -> None:
    """Write the transformed tiles, (elements, tiles, channels), and the bias to y; they are those of this interval."""
    args = TileArgs.for_output(
        y, bias, source=tiles.data_ptr(), grid=grid, tiles=interval, tile_pitch=tiles.stride(1), element_pitch=tiles.stride(0)
    )
    launch(scatter_kernel(transform.down, transform.across, choose_vector_width(y.shape[1])), args)
