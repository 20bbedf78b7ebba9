"""Convolutions of a training step, with gradients.

If the input is relu(batch normalisation of x), it is not kept for the backward pass, which computes it again from x. Batch
normalisation keeps x anyway, so a chain of convolutions keeps one map for each instead of two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple
from weakref import ref

import torch
from torch import Tensor
from torch.nn import functional as F

from ..nn import private_torch
from ._buffers import channels_last_rows
from ._normalization_source import NormalizationSource
from ._tile_args import Pair

Gradients = tuple[Tensor | None, ...]  # of the input, the weight and the bias


class ConvSettings(NamedTuple):
    """How a convolution is computed, and its window. Only torch computes strides, dilations and groups."""

    method: Literal["winograd", "product", "torch"]  # a product of matrices is a 1x1 convolution
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, settings: ConvSettings, source: NormalizationSource | None
) -> Tensor:
    """Return the convolution of x, (n, c, h, w), in channels_last memory. `source` is what x was computed from, if known."""
    y: Tensor
    if source is None and settings.method != "winograd":
        y = _forward(x, weight, bias, settings)
    else:
        y = ConvFunction.apply(settings, x, weight, bias, *(source or ()))
    return y


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, settings: ConvSettings) -> Tensor:
    if settings.method == "product":  # torch multiplies matrices faster than it convolves
        rows = weight.permute(0, 2, 3, 1).flatten(0, 2)  # so that its gradient has the weight's strides
        return F.linear(x.permute(0, 2, 3, 1), rows, bias).permute(0, 3, 1, 2)
    if settings.method == "winograd":
        from ._winograd_training import convolve

        return convolve(x, weight, bias, settings.padding)
    return F.conv2d(x, weight, bias, *settings[1:])


class ConvFunction(torch.autograd.Function):
    """The convolution: `apply(settings, x, weight, bias)`, followed by the fields of x's source if it has one."""

    @staticmethod
    def forward(ctx: Any, settings: ConvSettings, x: Tensor, weight: Tensor, bias: Tensor | None, *source: Any) -> Tensor:
        ctx.settings, ctx.bias_sizes = settings, None if bias is None else list(bias.shape)
        *kept, ctx.eps = source or (x, None)
        ctx.x = (ref(x), private_torch.tensor_version(x)) if source else None
        ctx.save_for_backward(weight, *kept)
        return _forward(x, weight, bias, settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, *kept = ctx.saved_tensors
        settings, x = ctx.settings, None
        if torch.is_grad_enabled():  # a backward pass of the backward pass may follow, and differentiate by x itself
            settings, x = settings._replace(method="torch"), _unchanged(*ctx.x) if ctx.x else None
        x = _input(kept, ctx.eps) if x is None else x
        found = _gradients(gradients[0], x, weight, ctx.bias_sizes, settings, ctx.needs_input_grad[1:4])
        return None, *found, *[None] * (len(ctx.needs_input_grad) - 4)


def _unchanged(reference: Callable[[], Tensor | None], version: tuple[int, int]) -> Tensor | None:
    """Return the tensor, if something else holds it and it has this version."""
    x = reference()
    return None if x is None or private_torch.tensor_version(x) != version else x


def _input(kept: Sequence[Any], eps: float | None) -> Tensor:
    """Return the input of the convolution: it was kept, or is computed from its source."""
    if eps is None:
        x: Tensor = kept[0]
        return x
    from ._batch_norm import normalize_again

    return normalize_again(NormalizationSource._make((*kept, eps)))


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: list[int] | None, settings: ConvSettings, needed: tuple[bool, ...]
) -> Gradients:
    if settings.method == "torch":
        window = settings.stride, settings.padding, settings.dilation
        found: Gradients = torch.ops.aten.convolution_backward(
            gradient, x, weight, bias_sizes, *window, False, (0, 0), settings.groups, needed
        )
        return found
    method = _product_gradients if settings.method == "product" else _winograd_gradients
    return *method(gradient, x, weight, settings.padding, needed), gradient.sum((0, 2, 3)) if needed[2] else None


def _product_gradients(gradient: Tensor, x: Tensor, weight: Tensor, _: Pair, needed: tuple[bool, ...]) -> Gradients:
    """Return the gradients of the input and the weight of a 1x1 convolution."""
    n, k, h, w = gradient.shape
    rows, c = gradient.permute(0, 2, 3, 1).reshape(-1, k), weight.shape[1]
    x_gradient = (rows @ weight.view(k, c)).view(n, h, w, c).permute(0, 3, 1, 2) if needed[0] else None
    w_gradient = (rows.T @ x.permute(0, 2, 3, 1).reshape(-1, c)).view(k, 1, 1, c).permute(0, 3, 1, 2) if needed[1] else None
    return x_gradient, w_gradient


def _winograd_gradients(gradient: Tensor, x: Tensor, weight: Tensor, padding: Pair, needed: tuple[bool, ...]) -> Gradients:
    """Return the gradients of the input and the weight by Winograd's algorithm."""
    from ._winograd_training import convolve, weight_gradient

    gradient = channels_last_rows(gradient)
    x_gradient = convolve(gradient, weight, None, padding, transposed=True) if needed[0] else None
    return x_gradient, weight_gradient(x, gradient, weight, padding) if needed[1] else None
