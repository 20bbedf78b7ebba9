"""Build modules from a specification."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, assert_never, overload

import torch
from torch import nn

from ..errors import ArgumentError, KeywordError, SpecError, check_int, suggestion
from ..spec import (
    LAYERS,
    MAX_CHANNELS,
    Act,
    Aux,
    Chain,
    Concat,
    Conv,
    DataConfig,
    Depthwise,
    Entry,
    GlobalPool,
    Layer,
    Network,
    Norm,
    Op,
    Pool,
    Residual,
    Style,
    out_channels,
    projection,
)
from ._blocks import Branches, ConvNormAct, ResidualBlock, Steps, use_masked_relu
from ._heads import AuxHead, ClassifierHead, check_head
from ._layers import make_act, make_norm, make_pool, own_module
from ._net import Net
from ._private_torch import uncompiled
from ._require_net import require_net


@overload
def build(spec: Network, in_channels: int = 3, **style: Any) -> Net: ...
@overload
def build(spec: Layer, in_channels: int = 3, **style: Any) -> nn.Module: ...
def build(spec: Layer | Network, in_channels: int = 3, **style: Any) -> nn.Module:
    """Return the module of a layer, or the `Net` of a network, for inputs of `in_channels` channels.

    The keywords are the fields of `Style`: norm, eps, bias, act, spatial_dims and time_padding. They override the network's
    style. For a layer they override the defaults: batch normalisation with an epsilon of 1e-3, no bias, ReLU, two dimensions.

    Raises:
        ArgumentError: `in_channels` is below 1, or `spec` is neither a layer nor a network.
        KeywordError: `Style` has no such field.
        SpecError: the channels of the layers do not match, a kernel, stride or dilation has another number of dimensions than
            `spatial_dims`, or the network accepts no image.
    """
    check_int("in_channels", in_channels, 1)
    if not isinstance(spec, (Network, *LAYERS)):
        raise ArgumentError(f"spec={spec!r} must be a layer or a network, for example inception(64, 96, 128, 16, 32, 32)")
    style_fields = [item.name for item in fields(Style)]
    for key in style:
        if key not in style_fields:
            hint = suggestion(key, style_fields)
            raise KeywordError(f"unknown keyword {key!r} for build{hint} It takes {', '.join(style_fields)}")
    if isinstance(spec, Network):
        return build_network(replace(spec, style=replace(spec.style, **style)), in_chans=in_channels)
    return build_layer(spec, in_channels, Style(**style))


def build_layer(layer: Layer, in_channels: int, style: Style) -> nn.Module:
    """Return the module of `layer` for inputs of `in_channels` channels.

    Raises:
        SpecError: the channels do not match, or an `Op` does not return a module.
    """
    match layer:
        case Conv():
            if in_channels < layer.min_channels:
                return nn.Identity()
            if in_channels % layer.groups:
                raise SpecError(f"{layer}: groups must divide the input's {in_channels} channels")
            return ConvNormAct(in_channels, layer, style)
        case Depthwise():
            return ConvNormAct(in_channels, layer.conv(in_channels), style)
        case Act():
            return make_act(style)
        case Pool():
            return make_pool(layer, style)
        case Norm():
            return _norm(layer, in_channels, style)
        case Chain():
            steps = Steps()
            for step in layer.layers:
                if _starts_with_max_pool(step, style):
                    use_masked_relu(steps)
                steps.append(build_layer(step, in_channels, style))
                in_channels = out_channels(step, in_channels)
            return steps
        case Concat():
            branches = Branches()
            for name, branch in layer.branches:
                _attach(branches, name, build_layer(branch, in_channels, style))
                use_masked_relu(branches[name])
            return branches
        case Residual():
            return _residual(layer, in_channels, style)
        case Op():
            return own_module("Op: make", layer.make, in_channels)
    assert_never(layer)


def _starts_with_max_pool(layer: Layer, style: Style) -> bool:
    first = layer.layers[0] if isinstance(layer, Chain) else layer
    return isinstance(first, Pool) and first.kind == "max" and style.spatial_dims == 2


def _attach(container: nn.Module, name: str, module: nn.Module) -> None:
    try:
        container.add_module(name, module)
    except KeyError as error:
        raise SpecError(f"{name!r} cannot name a stage or branch: {error.args[0]} in torch's container; rename it") from error


def _norm(layer: Norm, in_channels: int, style: Style) -> nn.Module:
    if layer.kind == "lrn":
        return nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)
    return make_norm(style, in_channels) or nn.Identity()


def _residual(layer: Residual, in_channels: int, style: Style) -> nn.Module:
    out = out_channels(layer, in_channels)
    body_out = out_channels(layer.body, in_channels)
    if not layer.project and body_out != out:
        raise SpecError(f"{layer}: the body gives {body_out} channels and the shortcut {out}; set project=True")
    return ResidualBlock(
        build_layer(layer.body, in_channels, style),
        build_layer(projection(out), body_out, style) if layer.project else nn.Identity(),
        nn.Identity() if layer.shortcut is None else build_layer(layer.shortcut, in_channels, style),
        make_act(style) if layer.act else nn.Identity(),
        scale=layer.scale,
        drop_path=layer.drop_path,
        dims=style.spatial_dims,
    )


def build_network(
    network: Network,
    *,
    in_chans: int = 3,
    num_classes: int = 1000,
    global_pool: GlobalPool = "avg",
    drop_rate: float | None = None,
    entry: Entry | None = None,
    arguments: dict[str, Any] | None = None,
    data: DataConfig | None = None,
) -> Net:
    """Return the network with random weights, on torch's default device.

    `drop_rate=None` keeps the head's dropout rate. `entry`, `arguments` and `data` become attributes of the `Net`. `data=None`
    is ImageNet's preprocessing for images of `in_chans` channels. Its size follows the network's dimensions.

    Raises:
        ArgumentError: an argument is outside its range; this is checked before anything is allocated.
        SpecError: the network accepts no image.
    """
    check_int("in_chans", in_chans, 1, MAX_CHANNELS)
    head_drop_rate = network.head.drop_rate if drop_rate is None else drop_rate
    check_head(num_classes, global_pool, head_drop_rate)
    if data is not None and len(data.size) != network.spatial_dims:
        raise ArgumentError(
            f"data: input_size={data.input_size!r} is not for the {network.spatial_dims} dimensions of the network"
        )
    features, channels = Steps(), in_chans
    for name, layer in network.stages:
        if _starts_with_max_pool(layer, network.style):
            use_masked_relu(features)
        _attach(features, name, build_layer(layer, channels, network.style))
        channels = out_channels(layer, channels)
    head = ClassifierHead(network.head, channels, num_classes, global_pool, head_drop_rate, network.spatial_dims)
    default = DataConfig().sized(in_chans, 224, 224).with_spatial_dims(network.spatial_dims)
    return Net(network, features, head, in_chans=in_chans, entry=entry, arguments=arguments, data=data or default)


def with_aux(model: Net) -> Net:
    """Return the model with its auxiliary heads, for training. It shares all other modules with `model`.

    `forward` still returns only the logits of the main head. `forward_aux` also returns those of the auxiliary heads, and `fit`
    adds their losses. The auxiliary heads start with random weights; a model that has them already is returned as it is.

    Raises:
        ArgumentError: the network has no auxiliary heads, the model is fused, or it has no classes.
    """
    require_net(uncompiled(model), "with_aux")
    if model.network.aux and not model.num_classes:
        raise ArgumentError(
            "with_aux: num_classes=0 leaves the heads nothing to predict; call reset_classifier(num_classes) first"
        )
    return model if model.aux else attach_aux_heads(model)


def attach_aux_heads(model: Net) -> Net:
    """Return what `with_aux` does. A model without classes gets auxiliary heads without classes.

    Raises:
        ArgumentError: the network has no auxiliary heads, or the model is fused.
    """
    name = model.entry.name if model.entry else "this network"
    if not model.network.aux:
        raise ArgumentError(f"with_aux: {name} has no auxiliary heads; train it without them")
    if model.fused:
        raise ArgumentError("with_aux: a fused model cannot be trained; use the model from which it was fused")
    reference = model._reference()
    with torch.device(reference.device):
        heads = nn.ModuleDict()
        for aux in model.network.aux:
            _attach(heads, aux.tap, build_aux_head(aux, model))
        heads.to(reference.dtype).train(model.training)
    model_with_aux = Net(
        model.network,
        model.features,
        model.head,
        in_chans=model.in_chans,
        aux=heads,
        entry=model.entry,
        arguments=model.arguments,
        data=model.data,
    )
    model_with_aux.class_names, model_with_aux._task = model.class_names, model._task
    model_with_aux.report, model_with_aux._timm_cfg = model.report, model._timm_cfg
    model_with_aux.copy_settings(model)
    model_with_aux.training = model.training  # not `train()`: the parts keep their modes
    return model_with_aux


def build_aux_head(aux: Aux, model: Net) -> AuxHead:
    """Return an auxiliary head for the model, with random weights."""
    channels = model.in_chans
    for name, layer in model.network.stages:
        channels = out_channels(layer, channels)
        if name == aux.tap:
            break
    style, width = model.network.style, out_channels(aux.layers, channels)
    head = ClassifierHead(aux.head, width, model.num_classes, "avg", aux.head.drop_rate, style.spatial_dims)
    return AuxHead(build_layer(aux.layers, channels, style), head, aux.weight)
