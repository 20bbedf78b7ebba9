"""Variants that every network has: other paddings, dilation for strides, activations, normalisation, stochastic depth.

Each is a function from a network to a network; no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from ..errors import ArgumentError, SpecError, check_choice, check_flag, check_rate
from ._cost import Shape
from ._layers import Act, Chain, Concat, Conv, Depthwise, Layer, Norm, Op, Pool, Residual
from ._network import ACTIVATIONS, Network
from ._network_cost import feature_levels, stage_costs

VARIANT_ARGUMENTS = ("padding", "include_pad", "ceil_mode", "output_stride", "act_layer", "norm_layer", "drop_path_rate")
NORM_LAYERS = {"batchnorm2d": "batch", "groupnorm": "group", "layernorm2d": "layer"}  # timm's names


def apply_variants(
    net: Network,
    *,
    padding: Literal["same", "valid"] | None = None,
    include_pad: bool | None = None,
    ceil_mode: Literal["pad"] | None = None,
    output_stride: int | None = None,
    act_layer: str | Callable[[], Any] | None = None,
    norm_layer: str | Callable[[int], Any] | None = None,
    drop_path_rate: float = 0.0,
) -> Network:
    """Return the network with these changes; None leaves it as it is.

    `padding="same"` pads every convolution and pool as TensorFlow does, so that a map is its input divided by the stride
    and rounded up; "valid" pads none that strides. `include_pad` says whether averages count the padding.
    `ceil_mode="pad"` lets pools that round up do so by padding. `output_stride` replaces strides beyond it by dilation.
    `act_layer` and `norm_layer` are names, or a class. `drop_path_rate` is the stochastic depth of the last residual
    block; the others have less in proportion.

    Raises:
        ArgumentError: a value lies outside its range, or the network has nothing that it could change.
    """
    if padding is not None:
        check_choice("padding", padding, ("same", "valid"))
        net = _mapped(net, _padded_same if padding == "same" else _unpadded)
        _check_maps(net, padding)
    if include_pad is not None:
        check_flag("include_pad", include_pad)
        net = _mapped(net, lambda leaf: _counting(leaf, include_pad))
    if ceil_mode is not None:
        check_choice("ceil_mode", ceil_mode, ("pad",))
        net = _mapped(net, lambda leaf: replace(leaf, ceil="pad") if isinstance(leaf, Pool) and leaf.ceil else leaf)
    if output_stride is not None:
        net = dilated(net, output_stride)
    if norm_layer is not None and not callable(norm_layer):
        check_choice("norm_layer", norm_layer, NORM_LAYERS)
    if act_layer is not None and not callable(act_layer):
        check_choice("act_layer", act_layer, ACTIVATIONS)
    style = net.style if norm_layer is None else replace(net.style, norm=_norm(norm_layer))
    head = replace(net.head, norm="layer") if norm_layer in ("groupnorm", "layernorm2d") else net.head
    net = replace(net, style=style if act_layer is None else replace(style, act=act_layer), head=head)
    return _with_drop_path(net, drop_path_rate)


def _norm(norm_layer: Any) -> Any:
    return norm_layer if callable(norm_layer) else NORM_LAYERS[norm_layer]


def _mapped(net: Network, change: Callable[[Layer], Layer]) -> Network:
    """Return the network with every layer that holds no other changed; auxiliary heads stay as they are."""
    return replace(net, stages=tuple((name, _map(layer, change)) for name, layer in net.stages))


def _map(layer: Layer, change: Callable[[Layer], Layer]) -> Layer:
    match layer:
        case Chain():
            return Chain(tuple(_map(step, change) for step in layer.layers))
        case Concat():
            return Concat(tuple((name, _map(branch, change)) for name, branch in layer.branches))
        case Residual():
            shortcut = None if layer.shortcut is None else _map(layer.shortcut, change)
            return replace(layer, body=_map(layer.body, change), shortcut=shortcut)
        case _:
            return change(layer)


def _padded_same(leaf: Layer) -> Layer:
    match leaf:
        case Conv() | Depthwise():
            return replace(leaf, padding="same")
        case Pool() if leaf.kind != "adaptive_avg":
            return replace(leaf, padding="same", ceil=False)
        case _:
            return leaf


def _unpadded(leaf: Layer) -> Layer:
    match leaf:
        case Conv() | Depthwise() if leaf.stride > 1:
            return replace(leaf, padding="valid")
        case Pool() if leaf.stride > 1:
            return replace(leaf, padding="valid", ceil=False)
        case _:
            return leaf


def _check_maps(net: Network, padding: str) -> None:
    try:
        stage_costs(net, Shape(3, 512, 512))
    except SpecError as error:
        raise ArgumentError(f"padding={padding!r} does not fit this network: {error}") from None


def _counting(leaf: Layer, include_pad: bool) -> Layer:
    return replace(leaf, include_pad=include_pad) if isinstance(leaf, Pool) and leaf.kind == "avg" else leaf


def dilated(net: Network, output_stride: int) -> Network:
    """Return the network with no more than `output_stride` of reduction: later strides become dilation.

    A layer that loses its stride keeps its map's size; those after it step over as many pixels as it would have left
    out. Averages keep their window.

    Raises:
        ArgumentError: `output_stride` is none of 1, 2, 4, 8, 16, 32, or an `Op` with a stride stands in the way.
    """
    check_choice("output_stride", output_stride, (1, 2, 4, 8, 16, 32))
    names = tuple(level.name for level in feature_levels(net, 3))
    stages, state = [], (1, 1)  # reduction so far, dilation from here on
    for name, layer in net.stages:
        changed, state = _dilate(layer, state, output_stride)
        stages.append((name, changed))
    return replace(net, stages=tuple(stages), taps=names)


def _dilate(layer: Layer, state: tuple[int, int], limit: int) -> tuple[Layer, tuple[int, int]]:
    """Return the layer with dilation for strides beyond `limit`, and (reduction, dilation) after it."""
    reduction, dilation = state
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
            taps = 1 if isinstance(layer, Pool) and layer.kind != "max" else dilation
            if reduction * layer.stride <= limit:
                padding = "same" if isinstance(layer, Pool) and taps > 1 and layer.padding == "half" else layer.padding
                return replace(layer, dilation=taps, padding=padding), (reduction * layer.stride, dilation)
            flat = replace(layer, stride=1, padding="same", dilation=taps)
            flat = replace(flat, ceil=False) if isinstance(flat, Pool) else flat
            return flat, (reduction, dilation * layer.stride)
        case Op() if reduction * layer.stride > limit:
            raise ArgumentError(f"output_stride={limit} needs {layer} without its stride; leave output_stride out")
        case Op():
            return layer, (reduction * layer.stride, dilation)
        case Norm() | Act():
            return layer, state


def _with_drop_path(net: Network, rate: float) -> Network:
    """Return the network whose residual blocks drop their bodies at rates that rise from 0 to `rate`."""
    check_rate("drop_path_rate", rate)
    blocks = [name for name, layer in net.stages if isinstance(layer, Residual)]
    if rate and not blocks:
        raise ArgumentError(f"drop_path_rate={rate!r} needs residual blocks, and this network has none; use drop_rate")
    if not rate:
        return net
    rates = {name: rate * index / max(1, len(blocks) - 1) for index, name in enumerate(blocks)}
    stages = []
    for name, layer in net.stages:
        stages.append((name, replace(layer, drop_path=rates[name]) if isinstance(layer, Residual) else layer))
    return replace(net, stages=tuple(stages))
