"""Strided convolution by Winograd's algorithm, which needs stride 1: the stride moves from the window to the channels.

Space to depth makes one pixel of each block of `stride` pixels; its channels are those of all pixels of the block. On it, a
convolution with stride 1 and fewer taps has the same outputs: the 7x7 convolution of an RGB image with stride 2 becomes a 4x4
convolution of 12 channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from ._buffers import ScratchArena, cache_blocks
from ._convolution import ConvOp
from ._frozen_convolution import make_conv2d
from ._jit import choose_vector_width
from ._kernel import KernelLaunch, KernelOp
from ._tile_args import TileArgs
from ._tile_transforms import gather_kernel
from ._winograd_matrices import identity_matrix

MAX_BLOCK = 16  # pixels; the kernel of the copy loads all pixels of a block at once


def supports(conv: nn.Conv2d) -> bool:
    """Return whether the convolution has a stride, and windows so large that few of the taps of `fold_stride` are zeros."""
    is_large = all(side > 2 * step for side, step in zip(conv.kernel_size, conv.stride, strict=True))
    return 1 < prod(conv.stride) <= MAX_BLOCK and is_large and conv.groups == 1 and conv.dilation == (1, 1)


def fold_stride(conv: nn.Conv2d) -> nn.Conv2d:
    """Return the convolution of space to depth, without stride and padding.

    Its input channels are (row of the block, column of the block, channel).
    """
    (height, width), (down, across), (rows, columns) = conv.kernel_size, conv.stride, _taps(conv.kernel_size, conv.stride)
    weight = F.pad(conv.weight.detach(), (0, columns * across - width, 0, rows * down - height))
    weight = weight.view(*weight.shape[:2], rows, down, columns, across).permute(0, 3, 5, 1, 2, 4)
    return make_conv2d(weight.flatten(1, 3), conv.bias)


def _taps(kernel_size: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the height and width in blocks of a window that begins with a block."""
    return [-(-side // step) for side, step in zip(kernel_size, stride, strict=True)]


class SpaceToDepthConv(ConvOp):
    """Convolution that copies its input to scratch memory as space to depth, and runs another op on the copy.

    `make_op` returns that op, for `fold_stride(conv)`, from the shape of the copy. `shape` is that of the input.
    """

    def __init__(self, conv: nn.Conv2d, make_op: Callable[[Sequence[int]], KernelOp], shape: Sequence[int]) -> None:
        super().__init__(conv, 0)
        self.channels = conv.in_channels * prod(conv.stride)
        down, across = map(identity_matrix, conv.stride)
        self.gather = gather_kernel(down, across, (len(down), len(across)), choose_vector_width(conv.in_channels))
        self.inner = make_op((shape[0], self.channels, *self._blocks(self.output_size(*shape[2:]))))

    def launches(self, x: Tensor, y: Tensor, scratch: ScratchArena) -> Iterator[KernelLaunch]:
        grid = self._blocks(y.shape[2:])
        size = prod(grid) * self.channels
        for start, stop in cache_blocks(len(x), size):
            blocks = scratch.empty("space to depth", (stop - start) * size).view(-1, *grid, self.channels).permute(0, 3, 1, 2)
            yield KernelLaunch(self.gather, TileArgs.for_input(
                x[start:stop], self.padding, self.padding_pixel, grid=grid, tiles=(0, (stop - start) * prod(grid)),
                target=blocks.data_ptr(), tile_pitch=self.channels,
            ))  # fmt: skip
            yield from self.inner.launches(blocks, y[start:stop], scratch)

    def _blocks(self, output_size: Sequence[int]) -> list[int]:
        """Return the rows and columns of blocks that the windows of an output of this size cover."""
        return [side + taps - 1 for side, taps in zip(output_size, _taps(self.kernel_size, self.stride), strict=True)]
