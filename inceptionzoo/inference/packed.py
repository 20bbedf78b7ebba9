"""Convolutions by oneDNN, as torch's own compiler calls it: weights in oneDNN's layout, bias and ReLU in the same pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

OPERATIONS = torch.ops.mkldnn


class Packed:
    """A convolution with bias of (n, c, h, w), channels_last, and ReLU where `relu`, with weights laid out for `shape`."""

    def __init__(self, conv: nn.Conv2d, relu: bool, shape: Sequence[int]) -> None:
        padding, stride, dilation = (list(map(int, sizes)) for sizes in (conv.padding, conv.stride, conv.dilation))
        self.moves = padding, stride, dilation, conv.groups  # in the order of oneDNN's operations
        self.weight = OPERATIONS._reorder_convolution_weight(conv.weight.detach(), *self.moves, list(shape))
        self.bias, self.after = None if conv.bias is None else conv.bias.detach(), "relu" if relu else "none"

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = OPERATIONS._convolution_pointwise(x, self.weight, self.bias, *self.moves, self.after, [], "")
        return y
