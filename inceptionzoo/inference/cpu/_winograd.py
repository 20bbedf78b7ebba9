"""A stride-1 convolution by Winograd's minimal filtering: tiles, a product of matrices for each place of a tile, maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor, nn

from ._buffers import ScratchArena, cache_blocks, output_size
from ._codegen import TileArgs
from ._gemm import Gemm, pack_weight
from ._jit import vector_width
from ._kernel import KernelLaunch, KernelOp
from ._tile_transforms import gather, scatter
from ._winograd_matrices import Filtering, filtering

TAPS = (1, 3, 5, 7)
MAX_CHANNELS = 4096  # channels
TILE_PADDING = 16  # floats between tiles: a power of two apart they would share few lines of the cache


def supports(conv: nn.Conv2d) -> bool:
    """Return whether the convolution can run so."""
    channels = conv.in_channels, conv.out_channels
    return (
        all(taps in TAPS for taps in conv.kernel_size)
        and max(conv.kernel_size) > 1
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and max(channels) <= MAX_CHANNELS
        and conv.out_channels >= 8
        and not any(count % 4 for count in channels)
    )


def filters(conv: nn.Conv2d, tile: int) -> list[Filtering]:
    """Return the filtering along each axis, of so many outputs a tile where the kernel has more than one tap."""
    return [filtering(tile if taps > 1 else 1, taps) for taps in conv.kernel_size]


def transform_weight(conv: nn.Conv2d, tile: int) -> Tensor:
    """Return the weights (places of a tile, channels, kernels), laid out for products; sums are in float64."""
    down, across = (torch.tensor(axis.filter, dtype=torch.float64) for axis in filters(conv, tile))
    weight = torch.einsum("ai,kcij,bj->abck", down, conv.weight.detach().double(), across).flatten(0, 1)
    return pack_weight(weight.float(), conv.out_channels)


class WinogradConv(KernelOp):
    """A convolution with bias of (n, c, h, w), channels_last, and ReLU of its first `relu` channels, for inputs of `shape`.

    A tile gives `tile` outputs along an axis: many spare multiplications, few spare weights, of which there are those of a
    1x1 for each place of a tile.
    """

    def __init__(self, conv: nn.Conv2d, relu: int, tile: int, weight: Tensor, shape: Sequence[int]) -> None:
        assert conv.bias is not None
        self.kernel, self.padding = conv.kernel_size, [int(side) for side in conv.padding]
        self.bias, self.relu, self.channels = conv.bias.detach(), relu, conv.out_channels
        axes = filters(conv, tile)
        self.outputs = [len(axis.outputs) for axis in axes]
        self.places = prod(len(axis.inputs) for axis in axes)
        self.outside, self.zeros = torch.zeros(conv.in_channels), torch.zeros(conv.out_channels)
        width = vector_width(conv.in_channels, conv.out_channels)
        self.gather, self.scatter = gather(*axes, width), scatter(*axes, width)
        tiles = shape[0] * prod(self._tiles(*output_size(shape, self.kernel, self.padding, (1, 1))))
        first, last = next(cache_blocks(tiles, self.places * max(conv.in_channels, conv.out_channels)))
        self.x_pitch, self.y_pitch = (self.places * count + TILE_PADDING for count in (conv.in_channels, conv.out_channels))
        self.product = Gemm(weight, conv.out_channels, last - first, self.x_pitch, self.y_pitch)

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        height, width = output_size(x.shape, self.kernel, self.padding, (1, 1))
        return x.shape[0], self.channels, height, width

    def launches(self, x: Tensor, y: Tensor, room: ScratchArena) -> Iterator[KernelLaunch]:
        count, channels, *sides = x.shape
        height, width = y.shape[2:]
        rows, columns = self._tiles(height, width)
        for first, last in cache_blocks(count * rows * columns, self.places * max(channels, self.channels)):
            number = max(last - first, self.product.block.rows)  # a block is whole, though it begin with few tiles
            tiles = room.address("tiles", number * self.x_pitch)
            products = room.address("products", number * self.y_pitch)
            yield KernelLaunch(self.gather, TileArgs(
                source=x.data_ptr(), target=tiles, outside=self.outside.data_ptr(), height=sides[0], width=sides[1],
                top=self.padding[0], left=self.padding[1], rows=rows, columns=columns, first=first, last=last,
                channels=channels, stride=x.stride(3), pitch=self.x_pitch,
            ))  # fmt: skip
            yield self.product.step(tiles, products, self.zeros.data_ptr(), number, (channels, self.channels))
            yield KernelLaunch(self.scatter, TileArgs(
                source=products, target=y.data_ptr(), bias=self.bias.data_ptr(), height=height, width=width, rows=rows,
                columns=columns, first=first, last=last, channels=self.channels, stride=y.stride(3), pitch=self.y_pitch,
                relu=self.relu,
            ))  # fmt: skip

    def _tiles(self, height: int, width: int) -> tuple[int, int]:
        return -(-height // self.outputs[0]), -(-width // self.outputs[1])
