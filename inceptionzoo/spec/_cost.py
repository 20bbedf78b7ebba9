"""Output shape, parameters and multiply-adds of a layer, computed from its specification. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import assert_never

from ..errors import InputError, SpecError
from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._geometry import Window, as_tuple, make_window, window_positions
from ._layers import Chain, Concat, Layer, Op, Residual
from ._network import Style
from ._shape import Shape


@dataclass(frozen=True, slots=True)
class Cost:
    """The output shape and the cost of a layer or a network, for one image.

    `weights` counts the weights of convolutions and dense layers, as the GoogLeNet paper does. `params` counts all parameters,
    including biases and normalisation. `macs` counts the multiply-adds of convolutions and dense layers. `depth` is the number
    of convolutions and dense layers on the longest path. `normed` is the number of positions of the smallest map (h * w of an
    image's) that batch normalisation normalises, or None if there is no batch normalisation. `complete` is False if the cost
    leaves out an `Op` without a stated cost, or a normalisation or activation of the user's own.
    """

    shape: Shape
    weights: int = 0
    params: int = 0
    macs: int = 0
    depth: int = 0
    normed: int | None = None
    complete: bool = True

    def then(self, after: Cost) -> Cost:
        """Return the total cost of this layer and of `after`, which runs on its output."""
        return _combine(after.shape, self.depth + after.depth, self, after)

    def beside(self, *others: Cost, shape: Shape) -> Cost:
        """Return the total cost of this layer and `others` in parallel; `shape` is that of the joined output."""
        return _combine(shape, max(cost.depth for cost in (self, *others)), self, *others)


def _combine(shape: Shape, depth: int, *costs: Cost) -> Cost:
    return Cost(
        shape,
        weights=sum(cost.weights for cost in costs),
        params=sum(cost.params for cost in costs),
        macs=sum(cost.macs for cost in costs),
        depth=depth,
        normed=min((cost.normed for cost in costs if cost.normed is not None), default=None),
        complete=all(cost.complete for cost in costs),
    )


def out_channels(layer: Layer, in_channels: int) -> int:
    """Return the number of channels that `layer` gives for an input of `in_channels` channels."""
    match layer:
        case Conv():
            return layer.out if in_channels >= layer.min_channels else in_channels
        case Op():
            return layer.out
        case Depthwise():
            return layer.multiplier * in_channels
        case Pool() | Norm() | Act():
            return in_channels
        case Chain():
            for step in layer.layers:
                in_channels = out_channels(step, in_channels)
            return in_channels
        case Concat():
            return sum(out_channels(branch, in_channels) for _, branch in layer.branches)
        case Residual():
            return in_channels if layer.shortcut is None else out_channels(layer.shortcut, in_channels)
    assert_never(layer)


def total_stride(layer: Layer, dims: int) -> tuple[int, ...]:
    """Return the factor by which `layer` reduces each of `dims` dimensions, ignoring pixels lost without padding."""
    match layer:
        case Conv() | Depthwise() | Pool() | Op():
            return as_tuple(layer.stride, dims, "stride")
        case Norm() | Act():
            return (1,) * dims
        case Chain():
            return tuple(map(math.prod, zip(*(total_stride(step, dims) for step in layer.layers), strict=True)))
        case Concat():
            return total_stride(layer.branches[0][1], dims)
        case Residual():
            return (1,) * dims if layer.shortcut is None else total_stride(layer.shortcut, dims)
    assert_never(layer)


def layer_cost(layer: Layer, shape: Shape, style: Style | None = None) -> Cost:
    """Return the cost of `layer` on an input of `shape`; `style` defaults to `Style()` with the dimensions of the shape.

    Raises:
        InputError: the input is too small for the layer, or has another number of dimensions than the style.
        SpecError: parallel branches give different map sizes, `groups` does not divide the channels of the input, or a kernel,
            stride or dilation has another number of dimensions than the input.
    """
    style = style or Style(spatial_dims=len(shape.size))
    if len(shape.size) != style.spatial_dims:
        raise InputError(f"a map of {shape} has {len(shape.size)} spatial dimensions, and the network has {style.spatial_dims}")
    match layer:
        case Conv():
            return _conv(layer, shape, style) if shape.channels >= layer.min_channels else Cost(shape)
        case Depthwise():
            return _conv(layer.conv(shape.channels), shape, style)
        case Act():
            return _add_act(Cost(shape), style)
        case Pool():
            return Cost(Shape(shape.channels, *_pool_output(layer, shape, style)))
        case Norm():
            if layer.kind == "lrn" or style.norm is None:
                return Cost(shape)
            return _add_norm(Cost(shape), style)
        case Chain():
            total = Cost(shape)
            for step in layer.layers:
                total = total.then(layer_cost(step, total.shape, style))
            return total
        case Concat():
            return _concat(layer, shape, style)
        case Residual():
            return _residual(layer, shape, style)
        case Op():
            return _op(layer, shape)
    assert_never(layer)


def _conv(conv: Conv, shape: Shape, style: Style) -> Cost:
    if shape.channels % conv.groups:
        raise SpecError(f"{conv}: groups must divide the input's {shape.channels} channels")
    after = Shape(conv.out, *_window_output(conv, shape, style))
    weights = conv.out * (shape.channels // conv.groups) * math.prod(as_tuple(conv.kernel, len(shape.size)))
    bias = style.bias if conv.bias is None else conv.bias
    cost = Cost(after, weights, weights + conv.out * bias, weights * math.prod(after.size), depth=1)
    cost = _add_norm(cost, style) if conv.norm and style.norm is not None else cost
    return _add_act(cost, style) if conv.act else cost


def _add_act(cost: Cost, style: Style) -> Cost:
    """Return the cost with the style's activation after it; a user's activation may have parameters."""
    return replace(cost, complete=False) if callable(style.act) else cost


def _add_norm(cost: Cost, style: Style) -> Cost:
    """Return the cost with the style's normalisation after it; the cost of a user's normalisation is unknown."""
    if callable(style.norm):
        return replace(cost, complete=False)
    positions = math.prod(cost.shape.size) if style.norm == "batch" else None
    return replace(cost, params=cost.params + 2 * cost.shape.channels, normed=positions)


def _concat(layer: Concat, shape: Shape, style: Style) -> Cost:
    branches = [(name, layer_cost(branch, shape, style)) for name, branch in layer.branches]
    if len({branch.shape.size for _, branch in branches}) > 1:
        sizes = ", ".join(f"{name}: {branch.shape}" for name, branch in branches)
        raise SpecError(f"concat: the branches must give maps of one size (have {sizes}); check their strides and paddings")
    first, *others = (branch for _, branch in branches)
    channels = sum(branch.shape.channels for _, branch in branches)
    return first.beside(*others, shape=Shape(channels, *first.shape.size))


def _residual(layer: Residual, shape: Shape, style: Style) -> Cost:
    shortcut = Cost(shape) if layer.shortcut is None else layer_cost(layer.shortcut, shape, style)
    body = layer_cost(layer.body, shape, style)
    if layer.project:
        body = body.then(layer_cost(projection(shortcut.shape.channels), body.shape, style))
    if body.shape != shortcut.shape:
        raise SpecError(f"residual: the body gives {body.shape}, the shortcut {shortcut.shape}; they must agree")
    total = body.beside(shortcut, shape=shortcut.shape)
    return _add_act(total, style) if layer.act else total


def projection(out: int) -> Conv:
    """Return the 1x1 convolution at the end of a residual body. It has a bias, but no normalisation or activation."""
    return Conv(out, norm=False, act=False, bias=True)


def _op(layer: Op, shape: Shape) -> Cost:
    strides = as_tuple(layer.stride, len(shape.size), "stride")
    after = Shape(layer.out, *(-(-side // stride) for side, stride in zip(shape.size, strides, strict=True)))
    if layer.cost is None:
        return Cost(after, complete=False)
    params, macs = layer.cost
    return Cost(after, weights=params, params=params, macs=macs * math.prod(after.size), depth=1)


def _window_output(layer: Conv | Pool, shape: Shape, style: Style) -> tuple[int, ...]:
    """Return the output size in each dimension; `Conv` and `Style` document the formulas. `ceil` rounds it up."""
    window = make_window(layer.kernel, layer.stride, layer.dilation, layer.padding, len(shape.size))
    same = [layer.padding == "same"] * len(shape.size)
    same[0] |= style.time_padding == "replicate"
    ceil = isinstance(layer, Pool) and bool(layer.ceil)
    axes = zip(same, shape.size, window.extent, window.stride, window.padding, strict=True)
    out = tuple(-(-axis[0] // axis[2]) if is_same else window_positions(*axis, ceil=ceil) for is_same, *axis in axes)
    if min(out) < 1 or (isinstance(layer, Pool) and _sees_only_padding(layer, window, shape, style)):
        raise InputError(f"a map of {shape} is too small for {layer}")
    return out


def _sees_only_padding(pool: Pool, window: Window, shape: Shape, style: Style) -> bool:
    """Return whether a max pool sees nothing but padding somewhere: a dilated even kernel can straddle a small map."""
    if pool.kind != "max" or pool.padding != "same":
        return False
    axes = list(zip(shape.size, window.kernel, window.dilation, strict=True))
    padded = axes[1:] if style.time_padding == "replicate" else axes
    return any(kernel % 2 == 0 and side < dilation for side, kernel, dilation in padded)


def _pool_output(pool: Pool, shape: Shape, style: Style) -> tuple[int, ...]:
    """Return the output size of a pool in each dimension."""
    if pool.kind == "adaptive_avg":
        return as_tuple(pool.kernel, len(shape.size), "kernel")
    return _window_output(pool, shape, style)
