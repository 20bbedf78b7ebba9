"""Folding of batch normalisation into the convolution before it."""

from __future__ import annotations

import copy
from typing import TypeGuard

from torch import Tensor, nn

from ..nn import BATCH_NORMS, ConvNormAct


def is_foldable(module: nn.Module) -> TypeGuard[ConvNormAct]:
    """Return whether a module is a convolution whose normalisation, if any, is a fixed affine map."""
    if type(module) is not ConvNormAct:
        return False
    norm = module.bn
    return norm is None or (type(norm) in BATCH_NORMS and norm.running_mean is not None)


def fold_batch_norm(module: ConvNormAct) -> tuple[Tensor, Tensor]:
    """Return the weight and bias, in float64, of the convolution that includes its batch normalisation."""
    weight = module.conv.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if module.conv.bias is None else module.conv.bias.detach().double()
    norm = module.bn
    if norm is None:
        return weight, bias
    assert isinstance(norm, BATCH_NORMS)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    gain = gain if norm.weight is None else gain * norm.weight.detach().double()
    shift = 0.0 if norm.bias is None else norm.bias.detach().double()
    return weight * gain.view(-1, *(1,) * (weight.ndim - 1)), (bias - norm.running_mean.double()) * gain + shift


def conv_like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a frozen convolution with the options and dtype of `conv` and these values; `len(weight)` is its output width."""
    frozen = [nn.Parameter(values.to(conv.weight, copy=True), requires_grad=False) for values in (weight, bias)]
    result = copy.deepcopy(conv, {id(conv.weight): frozen[0]})
    result.bias, result.out_channels = frozen[1], len(weight)
    return result
