"""Convolutions without gradients, made of a weight and a bias."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def make_conv2d(weight: Tensor, bias: Tensor | None, *, groups: int = 1, **window: Any) -> nn.Conv2d:
    """Return a frozen convolution with this weight and bias; it shares their memory."""
    conv = nn.Conv2d(groups * weight.shape[1], len(weight), tuple(weight.shape[2:]), groups=groups, device="meta", **window)  # type: ignore[arg-type]  # two numbers
    conv.weight = nn.Parameter(weight.detach(), requires_grad=False)
    conv.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
    return conv
