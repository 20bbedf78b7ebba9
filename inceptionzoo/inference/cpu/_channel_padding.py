"""A convolution of few channels, as of an image's three, run with channels of zeros beside them, which vectors fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ._buffers import ScratchArena
from ._gemm import UNROLLED
from ._kernel import KernelLaunch, KernelOp
from ._max_pool import MaxPoolOp


def supports(conv: nn.Conv2d) -> bool:
    """Return whether the convolution lacks channels."""
    return bool(conv.in_channels % UNROLLED) and conv.groups == 1


def pad_channels(conv: nn.Conv2d) -> nn.Conv2d:
    """Return the convolution with weights of 0 for channels that make their number even."""
    more = -conv.in_channels % UNROLLED
    wide = nn.Conv2d(conv.in_channels + more, conv.out_channels, 1, device="meta")
    wide.kernel_size, wide.stride, wide.padding, wide.dilation = conv.kernel_size, conv.stride, conv.padding, conv.dilation
    wide.weight = nn.Parameter(F.pad(conv.weight.detach(), (0, 0, 0, 0, 0, more)), requires_grad=False)
    wide.bias = conv.bias
    return wide


class ChannelPaddedConv(KernelOp):
    """What `make` gives for the widened convolution and the shape of its input."""

    def __init__(self, conv: nn.Conv2d, make: Callable[[Sequence[int]], KernelOp], shape: Sequence[int]) -> None:
        self.channels = conv.in_channels + -conv.in_channels % UNROLLED
        self.copy, self.inner = MaxPoolOp(nn.MaxPool2d(1), shape), make((shape[0], self.channels, *shape[2:]))

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        return self.inner.output_shape(x)

    def launches(self, x: Tensor, y: Tensor, room: ScratchArena) -> Iterator[KernelLaunch]:
        count, channels, height, width = x.shape
        memory = room.zeros(f"{channels} of {self.channels} channels", count * height * width * self.channels)
        wide = memory.view(count, height, width, self.channels).permute(0, 3, 1, 2)
        yield from self.copy.launches(x, wide[:, :channels], room)
        yield from self.inner.launches(wide, y, room)
