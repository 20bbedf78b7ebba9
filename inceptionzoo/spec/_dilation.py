"""Dilation in place of strides, for feature maps of a higher resolution. No torch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from ..errors import ArgumentError, check_choice
from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._geometry import Size, as_size, as_tuple, is_one
from ._layers import Chain, Concat, Layer, Op, Residual
from ._network import Network
from ._network_cost import feature_levels


def dilated(net: Network, output_stride: int) -> Network:
    """Return the network with a reduction of at most `output_stride`: later strides become dilation.

    A layer that loses its stride keeps the size of its map. The dilation of the convolutions and max pools after it is
    multiplied by that stride, so that kernels padded by "half" see the same input pixels. Average pools are not dilated. A
    network whose reduction is not larger is returned as it is.

    Raises:
        ArgumentError: `output_stride` is not 1, 2, 4, 8, 16 or 32, or an `Op` would have to lose its stride.
    """
    check_choice("output_stride", output_stride, (1, 2, 4, 8, 16, 32))
    names = tuple(level.name for level in feature_levels(net, 3))
    stages, state = [], _State((1,) * net.spatial_dims, (1,) * net.spatial_dims)
    for name, layer in net.stages:
        changed, state = _dilate(layer, state, output_stride)
        stages.append((name, changed))
    return net if tuple(stages) == net.stages else replace(net, stages=tuple(stages), taps=names)


class _State(NamedTuple):
    """For each dimension, the product of the strides kept so far, and the product of those removed."""

    reduction: tuple[int, ...]
    dilation: tuple[int, ...]

    def then(self, stride: Size, limit: int) -> tuple[Size, _State]:
        """Return the stride that a layer keeps, and the state after it."""
        strides = as_tuple(stride, len(self.reduction))
        kept = tuple(step if step * before <= limit else 1 for step, before in zip(strides, self.reduction, strict=True))
        reduction = tuple(map(math.prod, zip(self.reduction, kept, strict=True)))
        removed = (step // keep for step, keep in zip(strides, kept, strict=True))
        return as_size(kept), _State(reduction, tuple(map(math.prod, zip(self.dilation, removed, strict=True))))

    def dilate(self, dilation: Size) -> Size:
        """Return the dilation of a layer multiplied by the strides that were removed before it."""
        if is_one(self.dilation):
            return dilation
        sides = zip(as_tuple(dilation, len(self.dilation)), self.dilation, strict=True)
        return as_size(map(math.prod, sides))


def _dilate(layer: Layer, state: _State, limit: int) -> tuple[Layer, _State]:
    """Return the layer with dilation in place of strides beyond `limit`, and the state after it."""
    match layer:
        case Chain():
            steps = []
            for step in layer.layers:
                changed, state = _dilate(step, state, limit)
                steps.append(changed)
            return Chain(tuple(steps)), state
        case Concat():
            branches = [(name, *_dilate(branch, state, limit)) for name, branch in layer.branches]
            return Concat(tuple((name, branch) for name, branch, _ in branches)), branches[0][2]
        case Residual():
            body, after = _dilate(layer.body, state, limit)
            shortcut = None if layer.shortcut is None else _dilate(layer.shortcut, state, limit)[0]
            return replace(layer, body=body, shortcut=shortcut), after
        case Conv() | Depthwise() | Pool():
            return _dilate_window(layer, state, limit)
        case Op():
            kept, after = state.then(layer.stride, limit)
            if as_tuple(kept, len(after.reduction)) != as_tuple(layer.stride, len(after.reduction)):
                raise ArgumentError(f"output_stride={limit} needs {layer} without its stride; leave output_stride out")
            return layer, after
        case Norm() | Act():
            return layer, state


def _dilate_window(layer: Conv | Depthwise | Pool, state: _State, limit: int) -> tuple[Layer, _State]:
    stride, after = state.then(layer.stride, limit)
    dims = len(after.reduction)
    dilation = 1 if isinstance(layer, Pool) and layer.kind != "max" else state.dilate(layer.dilation)
    if keeps_stride := as_tuple(stride, dims) == as_tuple(layer.stride, dims):
        stride = layer.stride
    is_odd = all(side % 2 for side in as_tuple(layer.kernel, dims))
    is_half = layer.padding == "half"
    keeps_padding = keeps_stride or (is_half and is_odd)  # without its stride, the layer must keep the size of its map
    if not isinstance(layer, Pool):
        padding = layer.padding if keeps_padding else "same"
        return replace(layer, stride=stride, padding=padding, dilation=dilation), after
    if not keeps_padding or (is_half and not is_one(dilation)):  # see `Pool`: a dilated one is not padded by half
        return replace(layer, stride=stride, padding="same", dilation=dilation, ceil=False), after
    return replace(layer, stride=stride, dilation=dilation), after
