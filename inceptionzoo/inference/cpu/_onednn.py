"""Convolutions by oneDNN, as torch's own compiler calls it: weights in oneDNN's layout, bias in the same pass.

ReLU is torch's: oneDNN's makes 0 of nan.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ONEDNN = torch.ops.mkldnn


class OneDNNConv:
    """A convolution with bias of (n, c, h, w), channels_last, then ReLU of its first `relu` channels."""

    def __init__(self, conv: nn.Conv2d, relu: int, shape: Sequence[int]) -> None:
        padding, stride, dilation = (list(map(int, sizes)) for sizes in (conv.padding, conv.stride, conv.dilation))
        self.moves = padding, stride, dilation, conv.groups  # in the order of oneDNN's operations
        self.weight = ONEDNN._reorder_convolution_weight(conv.weight.detach(), *self.moves, list(shape))
        self.bias, self.relu = None if conv.bias is None else conv.bias.detach(), relu

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = ONEDNN._convolution_pointwise(x, self.weight, self.bias, *self.moves, "none", [], "")
        if self.relu:
            y[:, : self.relu].relu_()
        return y
