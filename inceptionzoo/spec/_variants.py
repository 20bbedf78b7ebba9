"""Variants of any network: padding, dilation in place of strides, activation, normalisation, stochastic depth.

Each variant is a function that takes a network and returns the changed network. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Literal

from ..errors import ArgumentError, InputError, SpecError, check_choice, check_flag, check_rate
from ._basic_layers import Conv, Depthwise, Pool
from ._dilation import dilated
from ._dimensions import with_spatial_dims
from ._geometry import is_one
from ._layers import Layer, Residual
from ._network import ACTIVATIONS, Network
from ._network_cost import stage_costs
from ._shape import Shape
from ._walk import children, map_children, map_leaves

VARIANT_ARGUMENTS = (
    "spatial_dims",
    "time_padding",
    "padding",
    "include_pad",
    "ceil_mode",
    "output_stride",
    "act_layer",
    "norm_layer",
    "drop_path_rate",
)
NORM_LAYERS = {"batchnorm2d": "batch", "groupnorm": "group", "layernorm2d": "layer"}  # timm's names


def apply_variants(
    net: Network,
    *,
    spatial_dims: Literal[1, 2, 3] | None = None,
    time_padding: Literal["zeros", "replicate"] | None = None,
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
        spatial_dims: 1 or 3 turns a network for images into one for signals or for volumes and videos; see
            `with_spatial_dims`.
        time_padding: "replicate" pads the first of three dimensions with copies of its first and last frame; see `Style`.
        padding: "same" pads every convolution and pool as TensorFlow does: the output has ceil(n / stride) pixels. A stage
            that is an unpadded average of stride 1, as the last of I3D and S3D, stays unpadded.
            "valid" removes the padding of every layer with a stride above 1.
        include_pad: whether average pools count the zeros of the padding.
        ceil_mode: "pad" replaces the ceil mode of max pools by padding; the output is the same.
        output_stride: the largest factor by which maps are smaller than the image; later strides become dilation.
        act_layer: the activation: a name of `Style.act`, or a class.
        norm_layer: the normalisation: timm's name ("batchnorm2d", "groupnorm", "layernorm2d"), or a class for maps, which does
            not replace the normalisation of vectors in the head of an embedding.
        drop_path_rate: the drop-path rate of the last residual block; rates rise linearly from 0 at the first of several.

    Raises:
        ArgumentError: a value is outside its range or does not fit the network.
    """
    if spatial_dims is not None:
        net = with_spatial_dims(net, spatial_dims)
    if time_padding is not None:
        net = replace(net, style=replace(net.style, time_padding=time_padding))
    if padding is not None:
        check_choice("padding", padding, ("same", "valid"))
        with _errors_of(f"padding={padding!r}"):
            original, net = net, _with_same_padding(net) if padding == "same" else _map_stages(net, _valid_leaf)
            _check_branch_sizes(net, original)
    if include_pad is not None:
        check_flag("include_pad", include_pad)
        net = _map_stages(net, lambda leaf: _with_include_pad(leaf, include_pad))
    if ceil_mode is not None:
        check_choice("ceil_mode", ceil_mode, ("pad",))
        with _errors_of(f"ceil_mode={ceil_mode!r}"):
            net = _map_stages(net, _with_padded_ceil)
    if output_stride is not None:
        with _errors_of(f"output_stride={output_stride!r}"):
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


def _with_same_padding(net: Network) -> Network:
    return replace(net, stages=tuple((name, _same_stage(layer)) for name, layer in net.stages))


def _same_stage(layer: Layer) -> Layer:
    """Return the stage with padding="same". An unpadded average of stride 1 stays: zeros would be part of its means."""
    is_average = isinstance(layer, Pool) and layer.kind == "avg" and layer.padding == "valid" and is_one(layer.stride)
    return layer if is_average else map_leaves(layer, _same_leaf)


def _same_leaf(leaf: Layer) -> Layer:
    match leaf:
        case Conv() | Depthwise():
            return replace(leaf, padding="same")
        case Pool() if leaf.kind != "adaptive_avg":
            return replace(leaf, padding="same", ceil=False)
        case _:
            return leaf


def _valid_leaf(leaf: Layer) -> Layer:
    match leaf:
        case Conv() | Depthwise() if not is_one(leaf.stride):
            return replace(leaf, padding="valid")
        case Pool() if not is_one(leaf.stride):
            return replace(leaf, padding="valid", ceil=False)
        case _:
            return leaf


def _with_padded_ceil(leaf: Layer) -> Layer:
    return replace(leaf, ceil="pad") if isinstance(leaf, Pool) and leaf.kind == "max" and leaf.ceil else leaf


@contextmanager
def _errors_of(argument: str) -> Iterator[None]:
    """Raise a SpecError as an ArgumentError that names the argument."""
    try:
        yield
    except SpecError as error:
        raise ArgumentError(f"{argument} does not fit this network: {error}") from error


def _check_branch_sizes(net: Network, original: Network) -> None:
    """Raise SpecError if branches give maps of different sizes for images of 3 channels and 512x512 px.

    Nothing is checked if the `original` network is not for such images.
    """
    shape = Shape(3, *(512,) * net.spatial_dims)
    try:
        stage_costs(original, shape)
    except (InputError, SpecError):
        return
    with suppress(InputError):  # the network is for larger images now
        stage_costs(net, shape)


def _with_include_pad(leaf: Layer, include_pad: bool) -> Layer:
    return replace(leaf, include_pad=include_pad) if isinstance(leaf, Pool) and leaf.kind == "avg" else leaf


def _with_drop_path(net: Network, rate: float) -> Network:
    """Return the network whose residual blocks have drop-path rates that rise linearly from 0 to `rate`."""
    check_rate("drop_path_rate", rate)
    if not rate:
        return net
    count = sum(_count_residuals(layer) for _, layer in net.stages)
    if not count:
        raise ArgumentError(f"drop_path_rate={rate!r} needs residual blocks, and this network has none; use drop_rate")
    rates = iter([rate * index / (count - 1) for index in range(count)] if count > 1 else [rate])
    return replace(net, stages=tuple((name, _with_rates(layer, rates)) for name, layer in net.stages))


def _count_residuals(layer: Layer) -> int:
    return isinstance(layer, Residual) + sum(map(_count_residuals, children(layer)))


def _with_rates(layer: Layer, rates: Iterator[float]) -> Layer:
    """Return the layer with the next of the drop-path rates in each residual block."""
    layer = replace(layer, drop_path=next(rates)) if isinstance(layer, Residual) else layer
    return map_children(layer, lambda child: _with_rates(child, rates))
