"""Convolutions by oneDNN, as torch's own compiler calls it: weights in oneDNN's layout, bias and ReLU in the same pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

OPERATIONS = torch.ops.mkldnn


class Geometry(NamedTuple):
    """How a convolution moves over its input, in the order of oneDNN's operations."""

    padding: list[int]
    stride: list[int]
    dilation: list[int]
    groups: int


def packed(weight: Tensor, geometry: Geometry, shape: list[int]) -> Tensor:
    """Return the weight in the layout that is best for inputs about as large as `shape`; it serves every other size too."""
    made: Tensor = OPERATIONS._reorder_convolution_weight(weight, *geometry, shape)
    return made


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, *, relu: bool) -> Tensor:
    """Return the convolution of x, channels_last, with a packed weight."""
    made: Tensor = OPERATIONS._convolution_pointwise(x, weight, bias, *geometry, "relu" if relu else "none", [], "")
    return made


class Packed:
    """A convolution with bias of (n, c, h, w), channels_last, and ReLU where `relu`."""

    def __init__(self, conv: nn.Conv2d, relu: bool, shape: Sequence[int]) -> None:
        padding, stride, dilation = (list(map(int, sizes)) for sizes in (conv.padding, conv.stride, conv.dilation))
        self.geometry = Geometry(padding, stride, dilation, conv.groups)
        self.weight, self.relu = packed(conv.weight.detach(), self.geometry, list(shape)), relu
        self.bias = None if conv.bias is None else conv.bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, self.geometry, relu=self.relu)
