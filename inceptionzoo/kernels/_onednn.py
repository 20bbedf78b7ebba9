"""Convolution by oneDNN, with the weight in oneDNN's own blocked layout and the bias added in the same kernel.

It calls the operations that torch's compiler emits for frozen models. ReLU is torch's: oneDNN's fused ReLU turns nan into 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..nn import private_torch


class OneDNNConv:
    """Convolution, then ReLU of the leading `relu_channels` channels: (n, c, h, w) -> (n, c', h', w'), channels_last.

    The weight's layout is chosen for inputs of `shape`; other sizes work, too.
    """

    def __init__(self, conv: nn.Conv2d, relu_channels: int, shape: Sequence[int]) -> None:
        padding, stride, dilation = (list(map(int, sizes)) for sizes in (conv.padding, conv.stride, conv.dilation))
        self.options = padding, stride, dilation, conv.groups  # in the order of oneDNN's parameters
        self.weight = private_torch.onednn_weight(conv.weight.detach(), *self.options, shape)
        self.bias, self.relu_channels = None if conv.bias is None else conv.bias.detach(), relu_channels

    def __call__(self, x: Tensor) -> Tensor:
        y = private_torch.onednn_convolution(x, self.weight, self.bias, *self.options)
        if self.relu_channels:
            y[:, : self.relu_channels].relu_()
        return y
