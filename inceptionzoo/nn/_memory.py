"""ReLU and max pooling that keep less for the backward pass: the same numbers, in less memory.

torch keeps a ReLU's output, and a max pool's input with the place of each maximum in eight bytes. Where nobody else keeps
those maps, a byte a value and two bytes a maximum do.
"""

from __future__ import annotations

from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INT16 = 2**16  # how many pixels two bytes count


class MaskedReLU(nn.ReLU):
    """ReLU that keeps which values it let pass in training, for where a concatenation or a max pool takes its output."""

    def forward(self, input: Tensor) -> Tensor:
        if _learns(self, input):
            return masked_relu(input)
        return super().forward(input)


class CompactMaxPool2d(nn.MaxPool2d):
    """A max pool, (n, c, h, w) -> (n, c, h', w'), that keeps the place of each maximum in two bytes, in four of a large map."""

    def forward(self, input: Tensor) -> Tensor:
        if _learns(self, input):
            return compact_max_pool(input, (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode))
        result: Tensor = super().forward(input)
        return result


def is_tracing() -> bool:
    """Return whether what runs is recorded, by torch.compile, torch.export or torch.jit, for inputs that come later."""
    return torch.compiler.is_compiling() or bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]  # torch left it untyped


def is_relu(module: nn.Module) -> bool:
    """Return whether a module is ReLU, whatever it keeps."""
    return type(module) in (nn.ReLU, MaskedReLU)


def is_max_pool(module: nn.Module) -> TypeGuard[nn.MaxPool2d]:
    """Return whether a module is torch's max pool, whatever it keeps."""
    return type(module) in (nn.MaxPool2d, CompactMaxPool2d)


def _learns(module: nn.Module, x: Tensor) -> bool:
    """Return whether a backward pass may follow, and nobody is making a graph, where torch's own operations alone are known."""
    return module.training and torch.is_grad_enabled() and not (is_tracing() or isinstance(x, torch.fx.Proxy))


def masked_relu(x: Tensor) -> Tensor:
    """Return relu(x), of any shape."""
    y: Tensor = _MaskedReLU.apply(x) if x.requires_grad else F.relu(x)
    return y


def compact_max_pool(x: Tensor, how: tuple[Any, ...]) -> Tensor:
    """Return the max pool of a map; `how` is torch's kernel size, stride, padding, dilation and ceil mode."""
    return cast("tuple[Tensor, Tensor]", _CompactMaxPool.apply(x, how))[0] if x.requires_grad else F.max_pool2d(x, *how)


class _MaskedReLU(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return F.relu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  # torch's signature
        kept = (output <= 0).logical_not_()  # nan is kept, so that its gradient passes, as through torch's
        ctx.save_for_backward(kept)
        ctx.save_for_forward(kept)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _passed(*gradients, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _passed(*tangents, *ctx.saved_tensors)


def _passed(values: Tensor, kept: Tensor) -> Tensor:
    """Return the values where they are kept, else 0."""
    passed: Tensor = torch.ops.aten.threshold_backward(values, kept.to(values.dtype), 0)  # half the time of torch.where
    return passed


class _CompactMaxPool(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, how: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        y, places = F.max_pool2d(x, *how, return_indices=True)
        return y, _narrow(places, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.how = inputs
        ctx.shape, ctx.format = x.shape, torch.channels_last if x.dim() == 4 and x.stride(1) == 1 else torch.contiguous_format
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # no zeros for the places
        ctx.save_for_backward(output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        (places,), gradient = ctx.saved_tensors, gradients[0]
        if gradient is None:
            return None, None
        kind = {"dtype": gradient.dtype, "device": gradient.device, "memory_format": ctx.format}
        like = torch.empty(ctx.shape, **kind)  # of the input, only its shape and format are asked for
        return torch.ops.aten.max_pool2d_with_indices_backward(gradient, like, *ctx.how, _wide(places)), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return tangents[0].flatten(-2).gather(-1, _wide(places).flatten(-2)).view(places.shape), None


def _narrow(places: Tensor, x: Tensor) -> Tensor:
    """Return the places of a map's pixels in as few bytes as count them."""
    pixels = x.shape[-2] * x.shape[-1]
    return places.to(torch.int16 if pixels <= INT16 else torch.int32 if pixels <= 2**31 else torch.int64)


def _wide(places: Tensor) -> Tensor:
    """Return the places as torch counts them; two bytes count beyond 32,767 by negative numbers."""
    wide = places.long()
    return wide & (INT16 - 1) if places.dtype is torch.int16 else wide
