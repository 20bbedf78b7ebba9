"""Convolution by a kernel of height 1, such as 1x7 or that of a signal, as one matrix multiplication for each row of pixels.

In channels_last memory, the window of an output pixel is one run of floats, and the window of the next pixel begins
`stride` pixels later. So the rows of the matrix overlap in memory, and nothing is copied but the padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ._buffers import ScratchArena
from ._convolution import ConvOp
from ._gemm import Gemm, pack_weight
from ._gemm_kernel import DEPTH_UNROLL
from ._kernel import KernelLaunch
from ._max_pool import CopyOp

MAX_TAPS = 128


def supports(conv: nn.Conv2d) -> bool:
    """Return whether `RowConv` can replace the convolution."""
    height, width = conv.kernel_size
    is_row = height == 1 < width <= MAX_TAPS and conv.stride[0] == 1 and conv.padding[0] == 0
    return is_row and conv.groups == 1 and conv.dilation == (1, 1) and conv.out_channels >= 8


def packed_weight(conv: nn.Conv2d) -> Tensor:
    """Return the weight as one matrix (1, taps * in_channels, out_channels), packed for `Gemm`.

    Zeros make its depth a multiple of `DEPTH_UNROLL`.
    """
    weight = conv.weight.detach()[:, :, 0].permute(2, 1, 0).reshape(-1, conv.out_channels)
    return pack_weight(F.pad(weight, (0, 0, 0, -len(weight) % DEPTH_UNROLL))[None])


class RowConv(ConvOp):
    """Convolution with a weight from `packed_weight`, then ReLU of the leading `relu_channels` channels.

    Inputs must have the c and w of `shape`, (n, c, h, w).
    """

    def __init__(self, conv: nn.Conv2d, relu_channels: int, weight: Tensor, shape: Sequence[int]) -> None:
        super().__init__(conv, relu_channels)
        self.weight, missing = weight, weight.shape[2] - conv.kernel_size[1] * conv.in_channels
        self.extra = -(-missing // conv.in_channels)  # pixels behind a row, for the zeros at the end of the weight
        self.pad = CopyOp(shape, (0, self.padding[1]))

    def launches(self, x: Tensor, y: Tensor, scratch: ScratchArena) -> Iterator[KernelLaunch]:
        count, channels, height, width = self.pad.output_shape(x)
        width, (rows, pitch) = width + self.extra, (y.shape[3], y.stride(3))
        memory = scratch.zeros("rows", count * height * width * channels)
        padded = memory.view(count, height, width, channels).permute(0, 3, 1, 2)
        yield from self.pad.launches(x, padded, scratch)
        gemm = Gemm(self.weight, self.out_channels, rows, self.stride[1] * channels, pitch)
        yield gemm.make_launch(
            padded.data_ptr(), y.data_ptr(), self.bias.data_ptr(), rows, (width * channels, rows * pitch),
            sharing=count * height, relu_columns=self.relu_channels,
        )  # fmt: skip
