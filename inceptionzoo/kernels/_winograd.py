"""Stride-1 convolution by Winograd's minimal filtering algorithm F(m, r) along each axis.

The input is divided into overlapping tiles, each of which gives m x m output pixels. With the matrices of `_winograd_matrices`:

1. The gather kernel computes B^T d B of each input tile d, into a tile buffer (tile, element, input channel).
2. A batched GEMM sums over the input channels. Its batch runs over the elements of a tile, its rows over tiles, and its columns
   over output channels; its weights G g G^T are transformed in advance. The result is a buffer (tile, element, output channel).
3. The scatter kernel computes A^T p A of each tile p of products, adds the bias, applies ReLU and writes the output pixels.

The steps run on as many tiles at a time as fit the cache. Source: Lavin and Gray (arXiv:1509.09308), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor, nn

from ._buffers import ScratchArena, cache_blocks
from ._convolution import ConvOp
from ._gemm import Gemm, pack_weight
from ._jit import choose_vector_width
from ._kernel import KernelLaunch
from ._tile_args import TileArgs
from ._tile_transforms import gather_kernel, scatter_kernel
from ._winograd_matrices import WinogradMatrices, winograd_matrices

MAX_KERNEL_SIDE = 7
MAX_CHANNELS = 4096
TILE_PADDING = 16  # floats after each tile of a buffer: tiles a power of two apart would share few sets of the cache


def supports(conv: nn.Conv2d) -> bool:
    """Return whether `WinogradConv` can replace the convolution."""
    channels = conv.in_channels, conv.out_channels
    return (
        1 < max(conv.kernel_size) <= MAX_KERNEL_SIDE
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and max(channels) <= MAX_CHANNELS
        and conv.out_channels >= 8
        and not any(count % 4 for count in channels)
    )


def accurate_tiles(conv: nn.Conv2d) -> tuple[int, ...]:
    """Return the tile sizes m for which outputs are within about 1e-5 of the largest; () if the convolution is not supported.

    F(4, 6) takes nine points and F(4, 7) ten. With a second transformed axis their rounding errors reach 7e-4.
    """
    if not supports(conv):
        return ()
    return (2,) if max(conv.kernel_size) > 5 and min(conv.kernel_size) > 1 else (2, 4)


def axis_matrices(conv: nn.Conv2d, m: int) -> list[WinogradMatrices]:
    """Return the matrices of F(m, r) for each axis; an axis along which the kernel has one tap is not transformed."""
    return [winograd_matrices(m if taps > 1 else 1, taps) for taps in conv.kernel_size]


def transform_weight(conv: nn.Conv2d, m: int) -> Tensor:
    """Return the weight (elements of a tile, in_channels, out_channels), packed for `Gemm`. It is computed in float64."""
    down, across = (torch.tensor(axis.filter, dtype=torch.float64, device="cpu") for axis in axis_matrices(conv, m))
    transform = torch.kron(down, across)  # (elements of a tile, taps)
    taps = pack_weight(conv.weight.detach().permute(2, 3, 1, 0).flatten(0, 1))
    panels = [(transform @ panel.double().flatten(1)).float() for panel in taps.unbind(1)]
    return torch.stack(panels, 1).view(len(transform), *taps.shape[1:])


class WinogradConv(ConvOp):
    """Convolution by Winograd's algorithm, then ReLU of the leading `relu_channels` channels.

    `weight` is from `transform_weight` with the same m. Per axis, m outputs take m + r - 1 multiplications instead of m * r.
    A larger m therefore needs fewer multiplications, but more memory for the weight, and it rounds more. The register block is
    chosen for inputs of `shape`; other sizes work, too.
    """

    def __init__(self, conv: nn.Conv2d, relu_channels: int, m: int, weight: Tensor, shape: Sequence[int]) -> None:
        super().__init__(conv, relu_channels)
        down, across = axis_matrices(conv, m)
        self.output_tile = len(down.output), len(across.output)  # pixels
        self.elements = len(down.input) * len(across.input)
        self.zero_bias = torch.zeros(conv.out_channels, dtype=torch.float32, device="cpu")
        self.gather = gather_kernel(down.input, across.input, self.output_tile, choose_vector_width(conv.in_channels))
        self.scatter = scatter_kernel(down.output, across.output, choose_vector_width(conv.out_channels))
        self.tile_floats = self.elements * max(conv.in_channels, conv.out_channels)  # of its larger buffer
        self.x_pitch, self.y_pitch = (self.elements * count + TILE_PADDING for count in (conv.in_channels, conv.out_channels))
        tiles = shape[0] * prod(self._grid(*self.output_size(shape[2], shape[3])))
        start, stop = next(cache_blocks(tiles, self.tile_floats, weight.nbytes))
        self.gemm = Gemm(weight, conv.out_channels, stop - start, self.x_pitch, self.y_pitch)

    def launches(self, x: Tensor, y: Tensor, scratch: ScratchArena) -> Iterator[KernelLaunch]:
        in_channels = x.shape[1]
        count, out_channels, height, width = y.shape
        grid = self._grid(height, width)
        for start, stop in cache_blocks(count * prod(grid), self.tile_floats, self.gemm.weight.nbytes):
            rows = max(stop - start, self.gemm.block.rows)  # with few tiles, unused rows fill the register block
            tiles = scratch.address("tiles", rows * self.x_pitch)
            products = scratch.address("products", rows * self.y_pitch)
            yield KernelLaunch(self.gather, TileArgs.for_input(
                x, self.padding, self.padding_pixel, grid=grid, tiles=(start, stop), target=tiles, tile_pitch=self.x_pitch
            ))  # fmt: skip
            yield self.gemm.make_launch(
                tiles, products, self.zero_bias.data_ptr(), rows, (in_channels, out_channels), groups=self._groups(rows)
            )
            yield KernelLaunch(self.scatter, TileArgs.for_output(
                y, self.bias, source=products, grid=grid, tiles=(start, stop), tile_pitch=self.y_pitch,
                relu_channels=self.relu_channels,
            ))  # fmt: skip

    def _groups(self, rows: int) -> int:
        """Return a group of tiles for each thread, if the tiles that threads would exchange are more than the weight."""
        threads = torch.get_num_threads()
        exchanged = 4 * rows * (self.x_pitch + self.y_pitch) // 2
        return threads if rows // threads >= self.gemm.block.rows and self.gemm.weight.nbytes < exchanged else 1

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of tiles that cover an output of this size."""
        return -(-height // self.output_tile[0]), -(-width // self.output_tile[1])
