"""The single layers of a specification as torch's modules: convolutions, normalisation, activations, pools."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from ..errors import SpecError
from ..spec import Conv, Pool, Style, Window, make_window
from ._init import allocate
from ._padding import (
    CeilMaxPool1d,
    CeilMaxPool2d,
    CeilMaxPool3d,
    PaddedAvgPool3d,
    ReplicateConv3d,
    SameConv1d,
    SameConv2d,
    SameConv3d,
    SameMaxPool1d,
    SameMaxPool2d,
    SameMaxPool3d,
    TimePaddedPool,
)

ACTS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "hard_swish": nn.Hardswish,
}
Kinds = dict[int, type[nn.Module]]  # by the number of spatial dimensions
CONVS: Kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SAME_CONVS: Kinds = {1: SameConv1d, 2: SameConv2d, 3: SameConv3d}
MAX_POOLS: Kinds = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
SAME_MAX_POOLS: Kinds = {1: SameMaxPool1d, 2: SameMaxPool2d, 3: SameMaxPool3d}
CEIL_MAX_POOLS: Kinds = {1: CeilMaxPool1d, 2: CeilMaxPool2d, 3: CeilMaxPool3d}
AVG_POOLS: Kinds = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE_AVG_POOLS: Kinds = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
STYLE_BATCH_NORMS: Kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm

CONVOLUTIONS = *CONVS.values(), *SAME_CONVS.values(), ReplicateConv3d  # these and torch's normalisations return a new tensor
NORMS = *BATCH_NORMS, nn.GroupNorm, type(None)


def make_conv(in_channels: int, conv: Conv, style: Style) -> Any:
    """Return the convolution alone. Its weights are allocated, but not set."""
    dims = style.spatial_dims
    window = make_window(conv.kernel, conv.stride, conv.dilation, "half" if conv.padding == "same" else conv.padding, dims)
    same = conv.padding == "same" and not window.is_centred
    sizes = in_channels, conv.out, conv.kernel, conv.stride
    options: dict[str, Any] = dict(dilation=conv.dilation, groups=conv.groups)
    options["bias"] = style.bias if conv.bias is None else conv.bias
    if style.time_padding == "replicate":
        return allocate(ReplicateConv3d, *sizes, padding=window.padding, same=same, **options)
    if same:
        return allocate(SAME_CONVS[dims], *sizes, **options)
    return allocate(CONVS[dims], *sizes, window.padding, **options)


def make_norm(style: Style, channels: int) -> nn.Module | None:
    """Return the style's normalisation, or None; "group" has up to 32 groups of at least 4 channels each."""
    if callable(style.norm):
        return own_module("norm", style.norm, channels)
    if style.norm == "group":
        return nn.GroupNorm(1 if channels % 4 else math.gcd(channels // 4, 32), channels, eps=style.eps)
    if style.norm == "layer":
        return nn.GroupNorm(1, channels, eps=style.eps)
    return STYLE_BATCH_NORMS[style.spatial_dims](channels, eps=style.eps) if style.norm else None


def own_module(name: str, make: Callable[..., Any], *arguments: int) -> nn.Module:
    """Return the module that a callable of the user's makes.

    Raises:
        SpecError: it cannot be called so, or returns something else.
    """
    call = f"{name}={getattr(make, '__name__', make)!r}, called with {arguments[0] if arguments else 'no argument'},"
    try:
        module = make(*arguments)
    except TypeError as error:
        raise SpecError(f"{call} must return a module: {error}") from error
    if not isinstance(module, nn.Module):
        raise SpecError(f"{call} must return a module, not {module!r}")
    return module


def make_act(style: Style) -> nn.Module:
    """Return the style's activation. It is never in place; see `activate`."""
    if callable(style.act):
        return own_module("act", style.act)
    return ACTS[style.act]()


def make_pool(pool: Pool, style: Style) -> nn.Module:
    """Return the pooling module of a specification."""
    dims = style.spatial_dims
    if pool.kind == "adaptive_avg":
        return ADAPTIVE_AVG_POOLS[dims](pool.kernel)
    window = make_window(pool.kernel, pool.stride, pool.dilation, "valid" if pool.padding == "valid" else "half", dims)
    if style.time_padding == "zeros":
        return _windowed_pool(pool, window, dims, dims)
    inner = _windowed_pool(pool, window._replace(padding=(0, *window.padding[1:])), dims, dims - 1)
    return TimePaddedPool(inner, window.extent[0], window.stride[0])


def _windowed_pool(pool: Pool, window: Window, dims: int, axes: int) -> nn.Module:
    """Return a pool with this window, which pads the last `axes` dimensions."""
    if pool.kind == "max" and pool.padding == "same":
        return SAME_MAX_POOLS[dims](window, axes)
    if pool.ceil == "pad":
        return CEIL_MAX_POOLS[dims](window, axes)
    if pool.kind == "max":
        return MAX_POOLS[dims](pool.kernel, pool.stride, window.padding, pool.dilation, ceil_mode=pool.ceil)
    if dims == 3 and pool.ceil:  # torch's own rule differs from that of two dimensions
        raise SpecError(f"{pool}: average pools of three dimensions round down; use ceil=False")
    kind = PaddedAvgPool3d if dims == 3 and any(window.padding) else AVG_POOLS[dims]
    return kind(pool.kernel, pool.stride, window.padding, ceil_mode=pool.ceil, count_include_pad=pool.include_pad)


def training_batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch normalisation modules in training mode, which use the statistics of the batch."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.training]
