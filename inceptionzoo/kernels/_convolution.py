"""What the convolutions by im2col and by Winograd's algorithm have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..spec import window_positions
from ._kernel import KernelOp


class ConvOp(KernelOp):
    """Base of the convolutions, followed by ReLU of the leading `relu_channels` output channels."""

    def __init__(self, conv: nn.Conv2d, relu_channels: int) -> None:
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.padding = [int(side) for side in conv.padding]
        self.padding_pixel = torch.zeros(conv.in_channels, dtype=torch.float32, device="cpu")
        self.bias = conv.weight.new_zeros(len(conv.weight)) if conv.bias is None else conv.bias.detach().contiguous()
        self.out_channels, self.relu_channels = conv.out_channels, relu_channels

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        return x.shape[0], self.out_channels, *self.output_size(x.shape[2], x.shape[3])

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the output's height and width for an input of this size; both are in pixels."""
        axes = zip((height, width), self.kernel_size, self.stride, self.padding, strict=True)
        rows, columns = (window_positions(*axis) for axis in axes)
        return rows, columns
