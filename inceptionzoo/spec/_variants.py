"""Variants of any network: padding, dilation in place of strides, activation, normalisation, stochastic depth.

Each variant is a function that takes a network and returns the changed network. No torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from ..errors import ArgumentError, SpecError, check_choice, check_flag, check_rate
from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._cost import Shape
from ._layers import Chain, Concat, Layer, Op, Residual
from ._network import ACTIVATIONS, Network
from ._network_cost import feature_levels, stage_costs
from ._walk import map_leaves

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
    """Return the network with these changes. An argument of None changes nothing.

    Args:
        net: the network to change.
        padding: "same" pads every convolution and pool as TensorFlow does: the output has ceil(n / stride) pixels.
            "valid" removes the padding of every layer with a stride above 1.
        include_pad: whether average pools count the zeros of the padding.
        ceil_mode: "pad" replaces the ceil mode of max pools by padding; the output is the same.
        output_stride: the largest factor by which maps are smaller than the image; later strides become dilation.
        act_layer: the activation: a name of `Style.act`, or a class.
        norm_layer: the normalisation: timm's name ("batchnorm2d", "groupnorm", "layernorm2d"), or a class.
        drop_path_rate: the drop-path rate of the last residual block; rates rise linearly from 0 at the first block.

    Raises:
        ArgumentError: a value is outside its range or does not fit the network.
    """
    if padding is not None:
        check_choice("padding", padding, ("same", "valid"))
        net = _map_stages(net, _with_same_padding if padding == "same" else _with_valid_padding)
        _check_branch_sizes(net, padding)
    if include_pad is not None:
        check_flag("include_pad", include_pad)
        net = _map_stages(net, lambda leaf: _with_include_pad(leaf, include_pad))
    if ceil_mode is not None:
        check_choice("ceil_mode", ceil_mode, ("pad",))
        net = _map_stages(net, lambda leaf: replace(leaf, ceil="pad") if isinstance(leaf, Pool) and leaf.ceil else leaf)
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


def _map_stages(net: Network, change: Callable[[Layer], Layer]) -> Network:
    """Return the network with `change` applied to every leaf of its stages; its auxiliary heads stay as they are."""
    return replace(net, stages=tuple((name, map_leaves(layer, change)) for name, layer in net.stages))


def _with_same_padding(leaf: Layer) -> Layer:
    match leaf:
        case Conv() | Depthwise():
            return replace(leaf, padding="same")
        case Pool() if leaf.kind != "adaptive_avg":
            return replace(leaf, padding="same", ceil=False)
        case _:
            return leaf


def _with_valid_padding(leaf: Layer) -> Layer:
    match leaf:
        case Conv() | Depthwise() if leaf.stride > 1:
            return replace(leaf, padding="valid")
        case Pool() if leaf.stride > 1:
            return replace(leaf, padding="valid", ceil=False)
        case _:
            return leaf


def _check_branch_sizes(net: Network, padding: str) -> None:
    """Raise ArgumentError if branches give maps of different sizes for images of 512x512 px."""
    try:
        stage_costs(net, Shape(3, 512, 512))
    except SpecError as error:
        raise ArgumentError(f"padding={padding!r} does not fit this network: {error}") from None


def _with_include_pad(leaf: Layer, include_pad: bool) -> Layer:
    return replace(leaf, include_pad=include_pad) if isinstance(leaf, Pool) and leaf.kind == "avg" else leaf


def dilated(net: Network, output_stride: int) -> Network:
    """Return the network with a reduction of at most `output_stride`: later strides become dilation.

    A layer that loses its stride keeps the size of its map. The convolutions and max pools after it are dilated by that
    stride, so that their kernels see the same input pixels. Average pools are not dilated.

    Raises:
        ArgumentError: `output_stride` is not 1, 2, 4, 8, 16 or 32, or an `Op` would have to lose its stride.
    """
    check_choice("output_stride", output_stride, (1, 2, 4, 8, 16, 32))
    names = tuple(level.name for level in feature_levels(net, 3))
    stages, state = [], (1, 1)
    for name, layer in net.stages:
        changed, state = _dilate(layer, state, output_stride)
        stages.append((name, changed))
    return replace(net, stages=tuple(stages), taps=names)


def _dilate(layer: Layer, state: tuple[int, int], limit: int) -> tuple[Layer, tuple[int, int]]:
    """Return the layer with dilation in place of strides beyond `limit`, and the state after it.

    The state is (reduction, dilation): the product of the strides kept so far, and the product of those removed.
    """
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
            kernel_dilation = 1 if isinstance(layer, Pool) and layer.kind != "max" else dilation
            if reduction * layer.stride <= limit:
                repad = isinstance(layer, Pool) and kernel_dilation > 1 and layer.padding == "half"
                changed = replace(layer, dilation=kernel_dilation, padding="same" if repad else layer.padding)
                return changed, (reduction * layer.stride, dilation)
            unstrided = replace(layer, stride=1, padding="same", dilation=kernel_dilation)
            unstrided = replace(unstrided, ceil=False) if isinstance(unstrided, Pool) else unstrided
            return unstrided, (reduction, dilation * layer.stride)
        case Op() if reduction * layer.stride > limit:
            raise ArgumentError(f"output_stride={limit} needs {layer} without its stride; leave output_stride out")
        case Op():
            return layer, (reduction * layer.stride, dilation)
        case Norm() | Act():
            return layer, state


def _with_drop_path(net: Network, rate: float) -> Network:
    """Return the network whose residual blocks have drop-path rates that rise linearly from 0 to `rate`."""
    check_rate("drop_path_rate", rate)
    blocks = [name for name, layer in net.stages if isinstance(layer, Residual)]
    if rate and not blocks:
        raise ArgumentError(f"drop_path_rate={rate!r} needs residual blocks, and this network has none; use drop_rate")
    if not rate:
        return net
    rates = {name: rate * index / max(1, len(blocks) - 1) for index, name in enumerate(blocks)}
    stages = [(name, replace(x, drop_path=rates[name]) if isinstance(x, Residual) else x) for name, x in net.stages]
    return replace(net, stages=tuple(stages))
