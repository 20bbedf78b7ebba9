"""Convolution of inputs whose number of channels is not a multiple of `DEPTH_UNROLL`, such as RGB images.

The GEMM kernel needs the multiple, because it unrolls its loop over the depth. The input is copied to scratch memory with
additional channels of zeros, and the weight is padded with zeros to match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ._buffers import ScratchArena
from ._frozen_convolution import make_conv2d
from ._gemm_kernel import DEPTH_UNROLL
from ._kernel import KernelLaunch, KernelOp
from ._max_pool import CopyOp


def supports(conv: nn.Conv2d) -> bool:
    """Return whether the convolution needs channel padding and can have it."""
    return _missing_channels(conv) > 0 and conv.groups == 1


def _missing_channels(conv: nn.Conv2d) -> int:
    return -conv.in_channels % DEPTH_UNROLL


def pad_channels(conv: nn.Conv2d) -> nn.Conv2d:
    """Return the convolution with zero weights for additional input channels, up to a multiple of `DEPTH_UNROLL`."""
    weight = F.pad(conv.weight.detach(), (0, 0, 0, 0, 0, _missing_channels(conv)))
    return make_conv2d(weight, conv.bias, stride=conv.stride, padding=conv.padding, dilation=conv.dilation)


class ChannelPaddedConv(KernelOp):
    """Convolution that copies its input to scratch memory with additional zero channels, and runs another op on the copy.

    `make_op` returns that op, for `pad_channels(conv)`, from the shape of the padded input. `shape` is that of the input.
    """

    def __init__(self, conv: nn.Conv2d, make_op: Callable[[Sequence[int]], KernelOp], shape: Sequence[int]) -> None:
        self.channels = conv.in_channels + _missing_channels(conv)
        self.copy = CopyOp(shape)
        self.inner = make_op((shape[0], self.channels, *shape[2:]))

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        return self.inner.output_shape(x)

    def launches(self, x: Tensor, y: Tensor, scratch: ScratchArena) -> Iterator[KernelLaunch]:
        count, channels, height, width = x.shape
        name = f"{channels} of {self.channels} channels"  # nothing else writes to this memory: the other channels stay 0
        memory = scratch.zeros(name, count * height * width * self.channels)
        padded = memory.view(count, height, width, self.channels).permute(0, 3, 1, 2)
        yield from self.copy.launches(x, padded[:, :channels], scratch)
        yield from self.inner.launches(padded, y, scratch)
