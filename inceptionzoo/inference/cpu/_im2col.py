"""A convolution as one product of matrices: of the pixels themselves where it is 1x1, of their unfolded windows else."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

from ._buffers import ScratchArena, cache_blocks, output_size
from ._codegen import TileArgs
from ._gemm import UNROLLED, Gemm, pack_weight
from ._jit import vector_width
from ._kernel import KernelLaunch, KernelOp
from ._tile_transforms import gather
from ._winograd_matrices import identity_filtering

MAX_TAPS = 49  # taps


def supports(conv: nn.Conv2d) -> bool:
    """Return whether the convolution can run so."""
    even = conv.in_channels % UNROLLED == 0 and conv.out_channels >= 8
    return even and conv.groups == 1 and conv.dilation == (1, 1) and prod(conv.kernel_size) <= MAX_TAPS


def packed_weight(conv: nn.Conv2d) -> Tensor:
    """Return the weights (1, taps and channels, kernels), laid out for products."""
    weight = conv.weight.detach().permute(2, 3, 1, 0).reshape(1, -1, conv.out_channels)
    return pack_weight(weight, conv.out_channels)


class Im2colConv(KernelOp):
    """A convolution with bias of (n, c, h, w), channels_last, and ReLU of its first `relu` channels."""

    def __init__(self, conv: nn.Conv2d, relu: int, weight: Tensor) -> None:
        assert conv.bias is not None
        self.kernel, self.stride = conv.kernel_size, conv.stride
        self.padding = [int(side) for side in conv.padding]
        self.bias, self.relu, self.weight, self.channels = conv.bias.detach(), relu, weight, conv.out_channels
        self.depth = conv.in_channels * prod(conv.kernel_size)
        self.unfolded = prod(conv.kernel_size) > 1 or conv.stride != (1, 1) or any(self.padding)
        if self.unfolded:
            self.outside = torch.zeros(conv.in_channels)
            filters = (identity_filtering(taps, step) for taps, step in zip(self.kernel, self.stride, strict=True))
            self.gather = gather(*filters, vector_width(conv.in_channels))
        self.products: dict[tuple[int, int, int], Gemm] = {}

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        height, width = output_size(x.shape, self.kernel, self.padding, self.stride)
        return x.shape[0], self.channels, height, width

    def launches(self, x: Tensor, y: Tensor, room: ScratchArena) -> Iterator[KernelLaunch]:
        count, channels, *sides = x.shape
        height, width = y.shape[2:]
        rows, pixel = count * height * width, y.stride(3)
        if not self.unfolded:
            yield self._product(x.data_ptr(), x.stride(3), y.data_ptr(), pixel, rows)
            return
        for first, last in cache_blocks(rows, self.depth):
            tiles = room.address("tiles", (last - first) * self.depth)
            yield KernelLaunch(self.gather, TileArgs(
                source=x.data_ptr(), target=tiles, outside=self.outside.data_ptr(), height=sides[0], width=sides[1],
                top=self.padding[0], left=self.padding[1], rows=height, columns=width, first=first, last=last,
                channels=channels, stride=x.stride(3), pitch=self.depth,
            ))  # fmt: skip
            yield self._product(tiles, self.depth, y.data_ptr() + 4 * first * pixel, pixel, last - first)

    def _product(self, x: int, x_stride: int, y: int, y_stride: int, rows: int) -> KernelLaunch:
        key = rows, x_stride, y_stride
        if key not in self.products:
            self.products[key] = Gemm(self.weight, self.channels, *key)
        return self.products[key].step(x, y, self.bias.data_ptr(), rows, (0, 0), relu=self.relu)
