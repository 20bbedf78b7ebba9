"""`fuse`: copy a model with its stages fused for inference."""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from ..errors import ArgumentError
from ..kernels import has_jit
from ..nn import Backbone, Change, ClassifierHead, FusedRecord, parts, private_torch, to_channels_last
from ..spec import Network
from ._changed import changed_stages, changes_to_keep, explain_copy_errors, networks
from ._executor import FusedStages
from ._fused_layers import fused_layer
from ._modules import Tunable, TunedLayers

M = TypeVar("M", bound=nn.Module)
NO_JIT_WARNING = (
    "fuse: 3x3 convolutions run without Winograd's method, at about half the speed: it needs llvmlite "
    "0.46 (pip install 'inceptionzoo[fast]') and torch's OpenMP; tune=False disables tuning and this warning"
)


def folded_network(network: Network) -> Network:
    """Return the network without batch normalisation, with biases; its parameter count is a lower bound for a fused model."""
    style = network.style
    return replace(network, style=replace(style, norm=None, bias=True)) if style.norm == "batch" else network


def _fused_copy(model: M, changes: Sequence[Sequence[Change]]) -> M:
    """Return a copy of the model in evaluation mode whose networks are fused; `changes` are those of each network."""
    pairs = list(zip(networks(model), changes, strict=True))
    stages = {id(net.features): _fused_stages(net, changed_stages(changes_of_net)) for net, changes_of_net in pairs}
    fused = copy.deepcopy(model, stages)  # takes the fused stages wherever the model refers to the others
    for net, (_, changes_of_net) in zip(networks(fused), pairs, strict=True):
        net.fused, net.fused_record = True, FusedRecord(parts(net.features), changes_of_net)
    for module in fused.modules():
        if type(module) is nn.Dropout:  # a subclass may drop in evaluation mode too
            module.p = 0.0
        if isinstance(module, ClassifierHead):
            module.run_layer = TunedLayers()
    return to_channels_last(fused.eval().requires_grad_(False))


def _fused_stages(net: Backbone[Any], changed: Collection[str]) -> FusedStages:
    """Return the fused stages of a network; the stages `changed` are copied as they are."""
    stages = OrderedDict[str, nn.Module]()
    for (name, layer), stage in zip(net.network.stages, net.features.children(), strict=True):
        stages[name] = copy.deepcopy(stage) if name in changed else fused_layer(layer, stage, net.network.style)
    return FusedStages(stages, net.network.spatial_dims)


def tuned(model: M, enable: bool = True, *, cache: bool = True) -> M:
    """Enable or disable tuning of a fused model, in place, and return the model.

    Tuning is enabled in a fused model that was loaded from a file. Without tuning, outputs are the same on every run.

    Args:
        model: a model of `fuse`, or one loaded from its file.
        enable: whether each operation runs by its fastest implementation (see `tune` of `fuse`) or by torch's own.
        cache: whether results of tuning are read from the user's cache and kept there; see `fuse`.
    """
    for module in model.modules():
        part = module.run_layer if isinstance(module, ClassifierHead) else module
        if isinstance(part, Tunable):
            part.tuned, part.cached = enable, cache
    return model


def warn_if_slow() -> None:
    """Warn if this installation lacks what the fast implementations need."""
    if missing := private_torch.missing_names():
        names = ", ".join(missing)
        message = f"fuse: torch {torch.__version__} lacks {names}; the model runs by torch's own operations, which is slower"
        warnings.warn(message, stacklevel=3)
    elif not has_jit():
        warnings.warn(NO_JIT_WARNING, stacklevel=3)


def _compile(model: nn.Module) -> None:
    compilers = (os.environ.get("CXX", "g++"), "c++", "clang++")
    if any(map(shutil.which, compilers)):
        model.compile(options={"freezing": True})
    else:
        message = f"fuse: no C++ compiler of {', '.join(compilers)} is found; the model runs without torch.compile"
        warnings.warn(message, stacklevel=3)


def fuse(model: M, *, compile: bool = False, tune: bool = True, cache: bool = True) -> M:
    """Return a copy of the model for fast inference, with the same outputs up to rounding.

    Batch normalisation is folded into the convolutions before it, in float64. 1x1 convolutions of the same input are joined
    into one. An average pool before a 1x1 convolution is moved behind it. Dropout is removed, and weights are in channels_last.
    The copy is of the same class (`Net`, `FeatureNet` or `Ensemble`), keeps the names of stages and feature maps, and cannot be
    trained. It shares no tensors with `model`, which is unchanged. A stage that you changed (a hook, a module) stays as it is.

    Args:
        model: a model of this library, without auxiliary heads; or a module that has one, such as a U-Net with an encoder of
            this library, of which the rest is copied as it is. `inceptionzoo.inference.fuse_convolutions` fuses the rest.
        compile: also compile the copy by `torch.compile` with frozen weights. This needs a C++ compiler; without one a
            warning is given. It runs torch's own operations: `tune` has no effect.
        tune: run each convolution, pool and linear layer by its fastest implementation: torch, oneDNN, or a kernel generated
            for this processor (this needs the extra `fast`), for example by Winograd's method. It applies to float32 inputs on
            the CPU. The first call with a new input size measures the implementations, which takes seconds. This is done for
            four sizes; inputs of other sizes run by torch. The choice can differ between processes, and the outputs with it by
            about 1e-5 of the largest. With `tune=False` outputs are the same on every run.
        cache: keep the results of tuning in the user's cache (XDG_CACHE_HOME, or INCEPTIONZOO_CACHE), and use those of earlier
            processes on this machine, with which outputs are the same. The environment variable INCEPTIONZOO_TUNING_CACHE=0
            turns the cache off for all models, also that of compiled kernels.

    Returns:
        The fused copy, in evaluation mode and with frozen parameters.

    Raises:
        ArgumentError: `model` is no model of this library and has none, is already fused or compiled, or has auxiliary heads;
            or it has a change that the copy cannot keep, such as a hook on `features` or a pruned layer.
    """
    nets = networks(model) if isinstance(model, nn.Module) else []
    if not nets or private_torch.uncompiled(model) is not model:
        raise ArgumentError(f"model of type {type(model).__name__} must be a model of create_model, or an Ensemble of such")
    if any(net.fused for net in nets):
        raise ArgumentError("fuse: the model is fused already; use it as it is")
    if any(getattr(net, "aux", None) for net in nets):
        raise ArgumentError("fuse: auxiliary heads are for training; fuse the model without them")
    changes = changes_to_keep(nets)
    with explain_copy_errors(changes), torch.inference_mode(False), torch.no_grad():
        fused = tuned(
            _fused_copy(model, changes), tune, cache=cache
        )  # tensors made in inference mode would not count their changes
    if tune and not compile:
        warn_if_slow()
    if compile:
        _compile(fused)
    return fused
