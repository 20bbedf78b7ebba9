"""A model's inference form, made by one walk over its specification and its modules side by side."""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..errors import ArgumentError
from ..nn import Backbone, Branches, ConvNormAct, ResidualBlock, is_max_pool
from ..spec import Chain, Concat, Conv, Depthwise, Layer, Network, Pool, Residual, Style, as_pair
from ._autotune import has_jit
from ._executor import FusedStages
from ._fold import conv_like, fold_batch_norm, is_foldable
from ._modules import ConvAct, JoinedBranches, PoolBiasAct, TunableModule, TunedMaxPool

M = TypeVar("M", bound=nn.Module)
NO_JIT_WARNING = (
    "fuse: 3x3 convolutions run without Winograd's method, at about half the speed: it needs llvmlite "
    "0.46 (pip install 'inceptionzoo[fast]') and torch's OpenMP; tune=False leaves this out"
)


@dataclass(frozen=True, slots=True)
class LeadingConv:
    """A branch that begins with a 1x1 convolution of its input, or of the input's average: what of it can be joined."""

    place: int
    conv: ConvNormAct
    pool: nn.Module | None
    rest: tuple[nn.Module, ...]

    @property
    def active(self) -> bool:
        """Whether the activation follows the convolution at once."""
        return self.pool is None and not isinstance(self.conv.act, nn.Identity)


def folded_network(network: Network) -> Network:
    """Return the network with as many parameters as its inference form has at least: biases where normalisation is folded."""
    style = network.style
    return replace(network, style=replace(style, norm=None, bias=True)) if style.norm == "batch" else network


def fused_layer(layer: Layer, module: nn.Module, style: Style) -> nn.Module:
    """Return the inference form of `module`, which was built from `layer`; nothing is shared with it."""
    match layer:
        case Conv() | Depthwise() if is_foldable(module):
            return ConvAct(conv_like(module.conv, *fold_batch_norm(module)), copy.deepcopy(module.act))
        case Chain():
            return nn.Sequential(*(fused_layer(step, part, style) for step, part in layer_module_pairs(layer, module)))
        case Concat():
            return _concat(layer, module, style)
        case Residual():
            assert isinstance(module, ResidualBlock)
            return _residual(layer, module, style)
        case Pool() if is_max_pool(module):
            return TunedMaxPool(copy.deepcopy(module))
        case _:
            return copy.deepcopy(module)


def layer_module_pairs(layer: Layer, module: nn.Module) -> Iterator[tuple[Layer, nn.Module]]:
    """Yield the steps of a layer with their modules; a layer that is no chain is one step."""
    if isinstance(layer, Chain):
        yield from zip(layer.layers, module.children(), strict=True)
    else:
        yield layer, module


def _concat(layer: Concat, module: nn.Module, style: Style) -> nn.Module:
    """Return the branches with their first 1x1 convolutions as one, where two or more begin so."""
    branches = [(branch, module.get_submodule(name)) for name, branch in layer.branches]
    leads = [lead for place, branch in enumerate(branches) if (lead := _leading_conv(place, *branch, style))]
    if callable(style.act) or len([lead for lead in leads if lead.pool is None]) < 2:
        return Branches({name: fused_layer(*branch, style) for (name, _), branch in zip(layer.branches, branches, strict=True)})
    leads.sort(key=lambda lead: not lead.active)
    values = [fold_batch_norm(lead.conv) for lead in leads]
    bias = torch.cat([torch.zeros_like(bias) if lead.pool else bias for lead, (_, bias) in zip(leads, values, strict=True)])
    first = conv_like(leads[0].conv.conv, torch.cat([weight for weight, _ in values]), bias)
    joined = {lead.place: _rest_of_branch(lead, bias) for lead, (_, bias) in zip(leads, values, strict=True)}
    alone = {place: fused_layer(*branch, style) for place, branch in enumerate(branches) if place not in joined}
    active = sum(lead.conv.conv.out_channels for lead in leads if lead.active)
    widths = [lead.conv.conv.out_channels for lead in leads]
    return JoinedBranches(first, copy.deepcopy(leads[0].conv.act), active, widths, joined, alone)


def _leading_conv(place: int, branch: Layer, module: nn.Module, style: Style) -> LeadingConv | None:
    """Return what of a branch can be joined with its siblings, or None."""
    (layer, part), *rest = layer_module_pairs(branch, module)
    pool = None
    if isinstance(layer, Pool) and layer.kind == "avg" and layer.stride == 1 and rest:
        pool, ((layer, part), *rest) = copy.deepcopy(part), rest
    if (
        not isinstance(layer, Conv)
        or as_pair(layer.kernel) != (1, 1)
        or layer.stride != 1
        or layer.groups != 1
        or not is_foldable(part)
    ):
        return None
    return LeadingConv(place, part, pool, tuple(fused_layer(*step, style) for step in rest))


def _rest_of_branch(lead: LeadingConv, bias: Tensor) -> nn.Module:
    """Return what is left of a branch behind the joined convolution."""
    if lead.pool is None:
        return nn.Sequential(*lead.rest)
    after = PoolBiasAct(lead.pool, bias.to(lead.conv.conv.weight, copy=True), copy.deepcopy(lead.conv.act))
    return nn.Sequential(after, *lead.rest)


def _fused_copy(model: M) -> M:
    """Return a copy of the model whose networks are in their inference form, in evaluation mode."""
    stages = [net.features for net in model.modules() if isinstance(net, Backbone)]
    made = copy.deepcopy(model, {id(features): features for features in stages})  # these are made anew below
    for net in list(made.modules()):
        if isinstance(net, Backbone):
            steps = zip(net.network.stages, net.features.children(), strict=True)
            layers = {name: fused_layer(layer, stage, net.network.style) for (name, layer), stage in steps}
            net.features = FusedStages(OrderedDict(layers))
            net.fused = True
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def tuned(model: M, enable: bool = True) -> M:
    """Let a fused model's convolutions and max pools run by the fastest way that is there, or by torch's; return the model.

    `fuse` says what that means; a model that was loaded from a fused one's file is tuned.
    """
    for module in model.modules():
        if isinstance(module, TunableModule):
            module.tuned = enable
    return model


def _compile(made: nn.Module) -> None:
    names = (os.environ.get("CXX", "g++"), "c++", "clang++")
    if any(map(shutil.which, names)):
        made.compile(options={"freezing": True})
    else:
        warnings.warn(f"fuse: no C++ compiler of {', '.join(names)} is found; it runs without torch.compile", stacklevel=3)


def _residual(layer: Residual, module: ResidualBlock, style: Style) -> nn.Module:
    """Return the residual block with its scale in the projection, where there is one."""
    project, scale = copy.deepcopy(module.project), layer.scale
    if is_foldable(module.project):
        weight, bias = fold_batch_norm(module.project)
        project, scale = conv_like(module.project.conv, weight * scale, bias * scale), 1.0
    shortcut = nn.Identity() if layer.shortcut is None else fused_layer(layer.shortcut, module.shortcut, style)
    body, act = fused_layer(layer.body, module.body, style), copy.deepcopy(module.act)
    return ResidualBlock(body, project, shortcut, act, scale=scale, drop_path=0.0)


def fuse(model: M, *, compile: bool = False, tune: bool = True) -> M:
    """Return the model's inference form: the same outputs, to rounding, by fewer operations; nothing is shared with `model`.

    Batch normalisation is folded into the convolutions (in float64), 1x1 convolutions of one input run as one, an average
    before such a convolution comes after it, dropout is gone, weights are channels_last. It stays what it was, a `Net`, a
    `FeatureNet` or an `Ensemble`, with its names for stages and maps, and is for evaluation alone.

    `tune` lets each convolution and pool run, in float32 on a CPU, by the fastest way there is: torch's, oneDNN's with
    weights laid out beforehand, and, where llvmlite is installed, passes compiled for this processor, by Winograd's method
    too, all that follow each other in one go. Each is tried at the first call with each of four sizes of input. What is
    chosen can differ from run to run, outputs by about 1e-5 of the largest; without it they are the same to the bit on the
    same machine. `compile` adds torch.compile with frozen weights instead, where a C++ compiler is found.

    Raises:
        ArgumentError: the model is none of this library, or has auxiliary heads.
    """
    nets = [part for part in model.modules() if isinstance(part, Backbone)] if isinstance(model, nn.Module) else []
    if not nets or isinstance(getattr(model, "_orig_mod", None), nn.Module):
        raise ArgumentError(f"model of type {type(model).__name__} must be a model of create_model, or an Ensemble of such")
    if any(net.fused for net in nets):
        raise ArgumentError("fuse: the model is fused already")
    if any(getattr(net, "aux", None) for net in nets):
        raise ArgumentError("fuse: auxiliary heads are for training; fuse the model without them")
    made = tuned(_fused_copy(model), tune)
    if tune and not compile and not has_jit():
        warnings.warn(NO_JIT_WARNING, stacklevel=2)
    if compile:
        _compile(made)
    return made
