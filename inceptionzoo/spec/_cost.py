"""Output shape, parameters and multiply-adds of a layer, computed from its specification. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, assert_never

from ..errors import InputError, SpecError
from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._geometry import as_pair, dilated_extent, half_padding, window_positions
from ._layers import Chain, Concat, Layer, Op, Residual
from ._network import Style


class Shape(NamedTuple):
    """The shape of one image's feature map, (channels, height, width). It prints as height x width x channels: 28x28x192."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"


@dataclass(frozen=True, slots=True)
class Cost:
    """The output shape and the cost of a layer or a network, for one image.

    `weights` counts the weights of convolutions and dense layers, as the GoogLeNet paper does. `params` counts all parameters,
    including biases and normalisation. `macs` counts the multiply-adds of convolutions and dense layers. `depth` is the number
    of convolutions and dense layers on the longest path. `normed` is the number of positions (h * w) of the smallest map that
    batch normalisation normalises, or None if there is no batch normalisation. `complete` is False if the cost leaves out an
    `Op` without a stated cost, or a user's normalisation.
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
        case Conv() | Op():
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


def total_stride(layer: Layer) -> int:
    """Return the factor by which `layer` reduces height and width, ignoring pixels lost without padding."""
    match layer:
        case Conv() | Depthwise() | Pool() | Op():
            return layer.stride
        case Norm() | Act():
            return 1
        case Chain():
            return math.prod(map(total_stride, layer.layers))
        case Concat():
            return total_stride(layer.branches[0][1])
        case Residual():
            return 1 if layer.shortcut is None else total_stride(layer.shortcut)
    assert_never(layer)


def layer_cost(layer: Layer, shape: Shape, style: Style | None = None) -> Cost:
    """Return the cost of `layer` on an input of `shape`; `style` defaults to `Style()`.

    Raises:
        InputError: the input is too small for the layer.
        SpecError: parallel branches give different map sizes, or `groups` does not divide the channels of the input.
    """
    style = style or Style()
    match layer:
        case Conv():
            return _conv(layer, shape, style)
        case Depthwise():
            return _conv(layer.conv(shape.channels), shape, style)
        case Act():
            return Cost(shape)
        case Pool():
            return Cost(shape._replace(height=_pool_output(layer, shape, 0), width=_pool_output(layer, shape, 1)))
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
    after = Shape(conv.out, _window_output(conv, shape, 0), _window_output(conv, shape, 1))
    weights = conv.out * (shape.channels // conv.groups) * math.prod(as_pair(conv.kernel))
    bias = style.bias if conv.bias is None else conv.bias
    cost = Cost(after, weights, weights + conv.out * bias, weights * after.height * after.width, depth=1)
    return _add_norm(cost, style) if conv.norm and style.norm is not None else cost


def _add_norm(cost: Cost, style: Style) -> Cost:
    """Return the cost with the style's normalisation after it; the cost of a user's normalisation is unknown."""
    if callable(style.norm):
        return replace(cost, complete=False)
    positions = cost.shape.height * cost.shape.width if style.norm == "batch" else None
    return replace(cost, params=cost.params + 2 * cost.shape.channels, normed=positions)


def _concat(layer: Concat, shape: Shape, style: Style) -> Cost:
    branches = [(name, layer_cost(branch, shape, style)) for name, branch in layer.branches]
    if len({branch.shape[1:] for _, branch in branches}) > 1:
        sizes = ", ".join(f"{name}: {branch.shape}" for name, branch in branches)
        raise SpecError(f"concat: the branches must give maps of one size (have {sizes}); check their strides and paddings")
    first, *others = (branch for _, branch in branches)
    channels = sum(branch.shape.channels for _, branch in branches)
    return first.beside(*others, shape=first.shape._replace(channels=channels))


def _residual(layer: Residual, shape: Shape, style: Style) -> Cost:
    shortcut = Cost(shape) if layer.shortcut is None else layer_cost(layer.shortcut, shape, style)
    body = layer_cost(layer.body, shape, style)
    if layer.project:
        body = body.then(layer_cost(projection(shortcut.shape.channels), body.shape, style))
    if body.shape != shortcut.shape:
        raise SpecError(f"residual: the body gives {body.shape}, the shortcut {shortcut.shape}; they must agree")
    return body.beside(shortcut, shape=shortcut.shape)


def projection(out: int) -> Conv:
    """Return the 1x1 convolution at the end of a residual body. It has a bias, but no normalisation or activation."""
    return Conv(out, norm=False, act=False, bias=True)


def _op(layer: Op, shape: Shape) -> Cost:
    after = Shape(layer.out, *(-(-side // layer.stride) for side in shape[1:]))
    if layer.cost is None:
        return Cost(after, complete=False)
    params, macs = layer.cost
    return Cost(after, weights=params, params=params, macs=macs * after.height * after.width, depth=1)


def _window_output(layer: Conv | Pool, shape: Shape, axis: int) -> int:
    """Return the output size along `axis` (0: height, 1: width); `Conv` documents the formulas. `ceil` rounds it up."""
    if layer.padding == "same":
        return -(-shape[1 + axis] // layer.stride)
    extent = dilated_extent(layer.kernel, layer.dilation)[axis]
    padding = half_padding(layer.kernel, layer.padding, layer.dilation)[axis]
    ceil = isinstance(layer, Pool) and bool(layer.ceil)
    out = window_positions(shape[1 + axis], extent, layer.stride, padding, ceil=ceil)
    if out < 1:
        raise InputError(f"a map of {shape} is too small for {layer}")
    return out


def _pool_output(pool: Pool, shape: Shape, axis: int) -> int:
    """Return the output size of a pool along `axis`."""
    return as_pair(pool.kernel)[axis] if pool.kind == "adaptive_avg" else _window_output(pool, shape, axis)
