"""Shapes, parameters and multiply-adds of a specification, from the value alone. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, assert_never

from ..errors import InputError, SpecError
from ._layers import Act, Chain, Concat, Conv, Depthwise, Layer, Norm, Op, Pool, Residual, as_pair, dilated_extent, half_padding
from ._network import Style


class Shape(NamedTuple):
    """The shape of one image's feature map."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a layer gives and takes, for one image.

    `weights` counts kernels alone, as the GoogLeNet paper does; `params` every learnable number; `macs` the
    multiply-adds of convolutions and dense layers; `depth` the weight layers on the longest path. `normed` is the
    fewest positions (h * w) that a batch normalisation sees. `complete` is False where an `Op` states no cost.
    """

    shape: Shape
    weights: int = 0
    params: int = 0
    macs: int = 0
    depth: int = 0
    normed: int | None = None
    complete: bool = True

    def then(self, after: Cost) -> Cost:
        """Return the cost of this and then `after`."""
        return _join(after.shape, self.depth + after.depth, self, after)

    def beside(self, *others: Cost, shape: Shape) -> Cost:
        """Return the cost of this beside `others`, with the shape that they make together."""
        return _join(shape, max(layer_cost.depth for layer_cost in (self, *others)), self, *others)


def _join(shape: Shape, depth: int, *costs: Cost) -> Cost:
    return Cost(
        shape,
        weights=sum(layer_cost.weights for layer_cost in costs),
        params=sum(layer_cost.params for layer_cost in costs),
        macs=sum(layer_cost.macs for layer_cost in costs),
        depth=depth,
        normed=min((layer_cost.normed for layer_cost in costs if layer_cost.normed is not None), default=None),
        complete=all(layer_cost.complete for layer_cost in costs),
    )


def out_channels(layer: Layer, in_channels: int) -> int:
    """Return the number of channels that `layer` gives from `in_channels`."""
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
    """Return how many times smaller `layer` makes height and width, paddings aside."""
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
    """Return the cost of `layer` on an input of `shape`.

    Raises:
        InputError: the input is too small for the layer.
        SpecError: branches give maps of different sizes, or groups do not divide the input's width.
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
            return Cost(shape._replace(height=_pooled(layer, shape, 0), width=_pooled(layer, shape, 1)))
        case Norm():
            if layer.kind == "lrn" or style.norm is None:
                return Cost(shape)
            return _normed(Cost(shape), style)
        case Chain():
            whole = Cost(shape)
            for step in layer.layers:
                whole = whole.then(layer_cost(step, whole.shape, style))
            return whole
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
    after = Shape(conv.out, _slid(conv, shape, 0), _slid(conv, shape, 1))
    height, wide = as_pair(conv.kernel)
    weights = conv.out * (shape.channels // conv.groups) * height * wide
    normed = conv.norm and style.norm is not None
    bias = style.bias if conv.bias is None else conv.bias
    plain = Cost(after, weights, weights + conv.out * bias, weights * after.height * after.width, depth=1)
    return _normed(plain, style) if normed else plain


def _normed(plain: Cost, style: Style) -> Cost:
    """Return the cost with a normalisation after it, whose cost is unknown where it is the user's own."""
    if callable(style.norm):
        return replace(plain, complete=False)
    positions = plain.shape.height * plain.shape.width if style.norm == "batch" else None
    return replace(plain, params=plain.params + 2 * plain.shape.channels, normed=positions)


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
    """Return the linear 1x1 convolution at the end of a residual body."""
    return Conv(out, norm=False, act=False, bias=True)


def _op(layer: Op, shape: Shape) -> Cost:
    after = Shape(layer.out, *(-(-side // layer.stride) for side in shape[1:]))
    if layer.cost is None:
        return Cost(after, complete=False)
    params, macs = layer.cost
    return Cost(after, weights=params, params=params, macs=macs * after.height * after.width, depth=1)


def _slid(layer: Conv | Pool, shape: Shape, axis: int) -> int:
    """Return the output size along `axis` of a kernel that slides, rounded down."""
    side, kernel = shape[1 + axis], dilated_extent(layer.kernel, layer.dilation)[axis]
    padding = half_padding(layer.kernel, layer.padding, layer.dilation)[axis]
    if layer.padding == "same":
        return -(-side // layer.stride)
    if side + 2 * padding < kernel:
        raise InputError(f"a map of {shape} is too small for {layer}")
    return (side + 2 * padding - kernel) // layer.stride + 1


def _pooled(pool: Pool, shape: Shape, axis: int) -> int:
    if pool.kind == "adaptive_avg":
        return as_pair(pool.kernel)[axis]
    if not pool.ceil or pool.padding == "same":
        return _slid(pool, shape, axis)
    side, kernel = shape[1 + axis], dilated_extent(pool.kernel, pool.dilation)[axis]
    padding = half_padding(pool.kernel, pool.padding, pool.dilation)[axis]
    out = (side + 2 * padding - kernel + pool.stride - 1) // pool.stride + 1
    if (out - 1) * pool.stride >= side + padding:  # torch drops a window that would start in the padding
        out -= 1
    if out < 1:
        raise InputError(f"a map of {shape} is too small for {pool}")
    return out
