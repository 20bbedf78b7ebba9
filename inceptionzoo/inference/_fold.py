"""Folding of batch normalisation into the convolutions before it, and the frozen convolutions that result."""

from __future__ import annotations

import copy
from typing import Any, TypeGuard

from torch import Tensor, nn

from ..nn import BATCH_NORMS, ConvNormAct


def is_affine(norm: nn.Module) -> bool:
    """Return whether a module is batch normalisation with fixed statistics, which is an affine map of each channel."""
    return type(norm) in BATCH_NORMS and norm.running_mean is not None


def is_foldable(module: nn.Module) -> TypeGuard[ConvNormAct]:
    """Return whether a module is a convolution whose normalisation, if any, is an affine map of each channel."""
    return type(module) is ConvNormAct and (module.bn is None or is_affine(module.bn))


def fold_batch_norm(module: ConvNormAct) -> tuple[Tensor, Tensor]:
    """Return the weight and bias, in float64, of the convolution that includes its batch normalisation."""
    return _values(module.conv) if module.bn is None else scaled(module.conv, *norm_affine(module.bn))


def norm_affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Return the gain and shift of each channel, in float64, of batch normalisation: y = gain * x + shift."""
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    gain = gain if norm.weight is None else gain * norm.weight.detach().double()
    shift = 0.0 if norm.bias is None else norm.bias.detach().double()
    return gain, shift - norm.running_mean.double() * gain


def scaled(conv: nn.Conv2d, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight and bias, in float64, of the convolution followed by y = gain * x + shift."""
    weight, bias = _values(conv)
    return weight * gain.view(-1, *(1,) * (weight.ndim - 1)), bias * gain + shift


def _values(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return the weight and bias in float64; a missing bias is 0."""
    weight = conv.weight.detach().double()
    return weight, weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach().double()


def conv_like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a frozen convolution with the options and dtype of `conv` and these values; `len(weight)` is its output width."""
    frozen = [nn.Parameter(values.to(conv.weight, copy=True), requires_grad=False) for values in (weight, bias)]
    result = copy.deepcopy(conv, {id(conv.weight): frozen[0]})
    result.bias, result.out_channels = frozen[1], len(weight)
    return result
