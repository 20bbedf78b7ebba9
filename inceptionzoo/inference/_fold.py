"""Folding of batch normalisation into the convolution before it."""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor, nn

from ..nn import ConvNormAct


def is_foldable(module: nn.Module) -> TypeGuard[ConvNormAct]:
    """Return whether a module is a convolution whose normalisation, if any, is a fixed affine map."""
    if type(module) is not ConvNormAct:
        return False
    norm = module.bn
    return norm is None or (type(norm) in (nn.BatchNorm2d, nn.SyncBatchNorm) and norm.running_mean is not None)


def fold_batch_norm(module: ConvNormAct) -> tuple[Tensor, Tensor]:
    """Return the weight and bias, in float64, of the convolution that includes its batch normalisation."""
    weight = module.conv.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if module.conv.bias is None else module.conv.bias.detach().double()
    norm = module.bn
    if norm is None:
        return weight, bias
    assert isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    gain = gain if norm.weight is None else gain * norm.weight.detach().double()
    shift = 0.0 if norm.bias is None else norm.bias.detach().double()
    return weight * gain[:, None, None, None], (bias - norm.running_mean.double()) * gain + shift


def conv_like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a frozen convolution with the options and dtype of `conv` and these values; `len(weight)` is its output width."""
    sizes = conv.in_channels, len(weight), conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    result = type(conv)(*sizes, device="meta")  # type: ignore[arg-type]  # torch declares tuples of int and expects pairs
    result.weight = nn.Parameter(weight.to(conv.weight, copy=True), requires_grad=False)
    result.bias = nn.Parameter(bias.to(conv.weight, copy=True), requires_grad=False)
    return result
