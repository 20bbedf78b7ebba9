"""Convolution as one matrix multiplication (im2col).

The rows of the product are output pixels, its columns output channels, and its depth runs over the taps of the kernel and the
input channels. A 1x1 convolution with stride 1 and no padding multiplies the pixels in place; otherwise the gather kernel first
copies the window of each output pixel to a row of scratch memory, for as many output pixels at a time as fit the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import Tensor, nn

from ._buffers import ScratchArena, cache_blocks
from ._convolution import ConvOp
from ._gemm import Gemm, choose_groups, pack_weight
from ._gemm_kernel import DEPTH_UNROLL
from ._jit import choose_vector_width
from ._kernel import KernelLaunch
from ._tile_args import TileArgs
from ._tile_transforms import gather_kernel
from ._winograd_matrices import identity_matrix

MAX_TAPS = 49


def supports(conv: nn.Conv2d) -> bool:
    """Return whether `Im2colConv` can replace the convolution."""
    fits_gemm = conv.in_channels % DEPTH_UNROLL == 0 and conv.out_channels >= 8
    return fits_gemm and conv.groups == 1 and conv.dilation == (1, 1) and prod(conv.kernel_size) <= MAX_TAPS


def packed_weight(conv: nn.Conv2d) -> Tensor:
    """Return the weight as one matrix (1, taps * in_channels, out_channels), packed for `Gemm`."""
    return pack_weight(conv.weight.detach().permute(2, 3, 1, 0).reshape(1, -1, conv.out_channels))


class Im2colConv(ConvOp):
    """Convolution by im2col, with a weight from `packed_weight`, then ReLU of the leading `relu_channels` channels."""

    def __init__(self, conv: nn.Conv2d, relu_channels: int, weight: Tensor) -> None:
        super().__init__(conv, relu_channels)
        self.weight, self.depth = weight, conv.in_channels * prod(conv.kernel_size)
        self.needs_gather = prod(conv.kernel_size) > 1 or conv.stride != (1, 1) or any(self.padding)
        if self.needs_gather:
            down, across = map(identity_matrix, conv.kernel_size)
            self.gather = gather_kernel(down, across, (conv.stride[0], conv.stride[1]), choose_vector_width(conv.in_channels))
        self._gemms: dict[tuple[int, int, int], Gemm] = {}  # by rows, x_row_stride and y_row_stride

    def launches(self, x: Tensor, y: Tensor, scratch: ScratchArena) -> Iterator[KernelLaunch]:
        count, _, *grid = y.shape  # a window is a tile
        rows, y_stride = count * grid[0] * grid[1], y.stride(3)
        if not self.needs_gather:
            yield self._multiply(x.data_ptr(), x.stride(3), y.data_ptr(), y_stride, rows)
            return
        for start, stop in cache_blocks(rows, self.depth, self.weight.nbytes):
            windows = scratch.address("tiles", (stop - start) * self.depth)
            yield KernelLaunch(self.gather, TileArgs.for_input(
                x, self.padding, self.padding_pixel, grid=grid, tiles=(start, stop), target=windows, tile_pitch=self.depth
            ))  # fmt: skip
            yield self._multiply(windows, self.depth, y.data_ptr() + 4 * start * y_stride, y_stride, stop - start)

    def _multiply(self, x: int, x_row_stride: int, y: int, y_row_stride: int, rows: int) -> KernelLaunch:
        key = rows, x_row_stride, y_row_stride
        if key not in self._gemms:
            self._gemms[key] = Gemm(self.weight, self.out_channels, *key)
        gemm = self._gemms[key]
        groups = choose_groups(rows, 4 * rows * self.depth, self.weight, gemm.block)
        return gemm.make_launch(x, y, self.bias.data_ptr(), rows, relu_columns=self.relu_channels, groups=groups)
