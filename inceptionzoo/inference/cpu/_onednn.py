"""Convolution by oneDNN, with the weight in oneDNN's own blocked layout and the bias added in the same kernel.

It calls the operations that torch's compiler emits for frozen models. ReLU is torch's: oneDNN's fused ReLU turns nan into 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ONEDNN = torch.ops.mkldnn


class OneDNNConv:
    """Convolution, then ReLU of the leading `relu_channels` channels: (n, c, h, w) -> (n, c', h', w'), channels_last.

    The weight's layout is chosen for inputs of `shape`; other sizes work, too.
    """

    def __init__(self, conv: nn.Conv2d, relu_channels: int, shape: Sequence[int]) -> None:
        padding, stride, dilation = (list(map(int, sizes)) for sizes in (conv.padding, conv.stride, conv.dilation))
        self.options = padding, stride, dilation, conv.groups  # in the order of oneDNN's parameters
        self.weight = ONEDNN._reorder_convolution_weight(conv.weight.detach(), *self.options, list(shape))
        self.bias, self.relu_channels = None if conv.bias is None else conv.bias.detach(), relu_channels

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = ONEDNN._convolution_pointwise(x, self.weight, self.bias, *self.options, "none", [], "")
        if self.relu_channels:
            y[:, : self.relu_channels].relu_()
        return y
