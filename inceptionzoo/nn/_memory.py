"""Activations and max pools that use less memory than torch's modules. Their outputs and gradients are the same.

torch's ReLU saves its output. torch's max pool saves its input, and an eight-byte index for each maximum. If no other
operation saves these maps, a one-byte mask per value and a two-byte index per maximum are enough.

The modules themselves are torch's. A block that contains one calls `activate` or `run_module`, which call the module if
anything could tell the difference: a hook, a tracer, a transform of functorch, or another type of module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._pre_activation import run_with_pre_act
from ._private_torch import is_hooked, observation_check
from ._training_ops import TrainingOps

MAX_INT16_PIXELS = 2**16
IN_PLACE: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {  # their gradients need the output only
    nn.ReLU: lambda _, x: F.relu(x, inplace=True),
    nn.LeakyReLU: lambda act, x: F.leaky_relu(x, act.negative_slope, inplace=act.negative_slope >= 0),
    nn.ELU: lambda act, x: F.elu(x, act.alpha, inplace=act.alpha >= 0),
}


def activate(act: nn.Module, x: Tensor, sources: tuple[nn.Module | None, ...] = (), *, masked: bool = False) -> Tensor:
    """Return `act(x)`; overwrite x, or with `masked` save a mask of a ReLU's output instead of the output itself.

    x must be a new tensor that only the hooks of `sources`, the modules that computed it, can have seen. If there are such
    hooks, or others could see the difference, the result is that of the module.
    """
    function = IN_PLACE.get(type(act))
    if function is None or not _is_unobserved(x) or is_hooked(act) or any(map(is_hooked, sources)):
        y: Tensor = act(x)
        return y
    if masked and x.requires_grad and act.training and type(act) is nn.ReLU and torch.is_grad_enabled():
        return masked_relu(x)
    return function(act, x)


def run_module(
    module: nn.Module,
    x: Tensor,
    pre_act: list[Tensor] | None = None,
    *,
    compact: bool = True,
    operations: TrainingOps | None = None,
) -> Tensor:
    """Return `module(x)`; with `compact`, a max pool saves less for the backward pass than torch does, by `operations` if any.

    The map before the module's last activation is appended to `pre_act`, if it is a list.
    """
    if pre_act is not None:
        return run_with_pre_act(module, x, pre_act)
    if compact and type(module) is nn.MaxPool2d and can_compact(module, x) and not is_hooked(module):
        return compact_max_pool(x, window(module)) if operations is None else operations.max_pool(module, x)
    y: Tensor = module(x)
    return y


def can_compact(pool: nn.MaxPool2d, x: Tensor) -> bool:
    """Return whether a backward pass may follow, and `compact_max_pool` can replace the pool."""
    return pool.training and torch.is_grad_enabled() and _is_unobserved(x) and x.requires_grad


def window(pool: nn.MaxPool2d) -> tuple[Any, ...]:
    """Return the arguments of `F.max_pool2d` after the input."""
    return pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode


def _is_unobserved(x: Tensor) -> bool:
    """Return whether x is a plain tensor, and nothing traces, transforms or observes the operations on it."""
    return not is_tracing() and type(x) is Tensor and not observation_check()()


def is_tracing() -> bool:
    """Return whether torch.compile, torch.export or torch.jit is recording the running code."""
    return torch.compiler.is_compiling() or bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]  # torch left it untyped


def is_relu(module: nn.Module) -> bool:
    """Return whether a module is exactly torch's ReLU."""
    return type(module) is nn.ReLU


def masked_relu(x: Tensor) -> Tensor:
    """Return relu(x); x has any shape."""
    y: Tensor = _MaskedReLU.apply(x) if x.requires_grad else F.relu(x)
    return y


def compact_max_pool(x: Tensor, window: tuple[Any, ...]) -> Tensor:
    """Return the max pool of x; `window` is (kernel_size, stride, padding, dilation, ceil_mode), as torch takes them."""
    return cast("tuple[Tensor, Tensor]", _CompactMaxPool.apply(x, window))[0] if x.requires_grad else F.max_pool2d(x, *window)


class _MaskedReLU(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return F.relu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  # torch's signature
        mask = (output <= 0).logical_not_()  # true for nan: its gradient passes, as in torch
        ctx.save_for_backward(mask)
        ctx.save_for_forward(mask)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _masked(*gradients, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _masked(*tangents, *ctx.saved_tensors)


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    """Return the values where `mask` is true, else 0."""
    masked: Tensor = torch.ops.aten.threshold_backward(values, mask.to(values.dtype), 0)  # half the time of torch.where
    return masked


class _CompactMaxPool(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, window: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        y, indices = F.max_pool2d(x, *window, return_indices=True)
        return y, _compress_indices(indices, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.window = inputs
        ctx.shape, ctx.format = x.shape, torch.channels_last if x.dim() == 4 and x.stride(1) == 1 else torch.contiguous_format
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # do not make a zero gradient for the indices
        ctx.save_for_backward(output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        (indices,), gradient = ctx.saved_tensors, gradients[0]
        if gradient is None:
            return None, None
        options = {"dtype": gradient.dtype, "device": gradient.device, "memory_format": ctx.format}
        x = torch.empty(ctx.shape, **options)  # stands for the input: torch uses only its shape and memory format
        return torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, *ctx.window, _expand_indices(indices)), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        return tangents[0].flatten(-2).gather(-1, _expand_indices(indices).flatten(-2)).view(indices.shape), None


def _compress_indices(indices: Tensor, x: Tensor) -> Tensor:
    """Return the indices, all below h * w of x, in the smallest integer type with at least h * w values."""
    pixels = x.shape[-2] * x.shape[-1]
    return indices.to(torch.int16 if pixels <= MAX_INT16_PIXELS else torch.int32 if pixels <= 2**31 else torch.int64)


def _expand_indices(indices: Tensor) -> Tensor:
    """Return the indices as int64. In int16, those above 32,767 are stored as negative numbers."""
    expanded = indices.long()
    return expanded & (MAX_INT16_PIXELS - 1) if indices.dtype is torch.int16 else expanded
