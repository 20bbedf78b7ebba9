"""Make models: the registry, `build` and weights in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, overload

import torch

from .backbone import Indices
from .build import build_network
from .entry import Entry
from .errors import ArgumentError, FileError, MismatchError, near
from .feature_net import FeatureNet
from .known import Asked
from .net import Net
from .network import GlobalPool
from .registry import find, make_network, own_arguments
from .restore import restore
from .variants import VARIANTS
from .weights.card import as_arguments
from .weights.source import read_source

COMMON = ("weights", "pretrained", "device", "dtype", "features_only", "out_indices")


@overload
def create_model(name: str, pretrained: bool = False, *, features_only: Literal[True], **arguments: Any) -> FeatureNet: ...
@overload
def create_model(name: str, pretrained: bool = False, *, features_only: Literal[False] = False, **arguments: Any) -> Net: ...
def create_model(
    name: str,
    pretrained: bool = False,
    *,
    features_only: bool = False,
    out_indices: Indices = None,
    weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    global_pool: GlobalPool | None = None,
    drop_rate: float | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **arguments: Any,
) -> Net | FeatureNet:
    """Return the model `name`, with random weights or those of `weights`: (n, in_chans, h, w) -> (n, num_classes).

    `weights` is a .safetensors or .pth file, or a state dict; without `num_classes` and `in_chans` the model takes its
    sizes from it, with another `num_classes` it gets a new random head. `model.report` says what was loaded.
    `num_classes=0` gives features; with `global_pool=""` too, the last feature map. `drop_rate` is the dropout before the
    classifier; None is the network's own. `features_only` gives a `FeatureNet` without a head, whose `forward` is a list
    of maps: one of each resolution, or those of `out_indices` (levels of `feature_info`, or names of stages). Every
    model takes the arguments of `variants.vary` (padding, include_pad, output_stride, act_layer, norm_layer,
    drop_path_rate); others are the model's own, such as `head="conv"` of VGG.

    Raises:
        UnknownModelError: no such model.
        ArgumentError: an unknown keyword, or a value outside its range; nothing is allocated then.
        WeightsError: the weights cannot be read, or do not fit.
    """
    entry = find(name)
    _check_keywords(entry, arguments)
    asked = Asked(0, in_chans, "", drop_rate) if features_only else Asked(num_classes, in_chans, global_pool, drop_rate)
    asked.check(entry)
    where = _check_place(device, dtype)
    if out_indices is not None and not features_only:
        raise ArgumentError(f"out_indices={out_indices!r} has no effect without features_only=True")
    if features_only and (num_classes or global_pool):
        asked_for = f"num_classes={num_classes!r}, global_pool={global_pool!r}"
        raise ArgumentError(f"{asked_for}: features_only=True leaves no head for them; leave them out")
    if pretrained:
        raise ArgumentError(f"pretrained=True: no published weights are listed for {name!r}; pass weights=FILE")
    if weights is None:
        network = make_network(entry, arguments)
        with torch.device(where or torch.get_default_device()):
            model = build_network(network, **asked.options(entry, None), entry=entry, arguments=arguments)
    else:
        source = read_source(weights)
        if source.card is not None and source.card.architecture != name:
            raise MismatchError(
                f"{source.name} holds {source.card.architecture!r}, not {name!r}; use load_model(path), or "
                f"create_model({source.card.architecture!r}, weights=path)"
            )
        own = {**(as_arguments(source.card) if source.card else {}), **arguments}
        _check_keywords(entry, own)
        model = restore(entry, source, asked, own)
    model.to(device=where, dtype=dtype)
    return FeatureNet(model, out_indices) if features_only else model


def load_model(path: str | os.PathLike[str], *, device: str | torch.device | None = None) -> Net:
    """Return the model that `save_weights` wrote, from its file alone, in evaluation mode.

    Raises:
        FileError: it is no file of this library; the message says what to use instead.
        UnknownModelError: it holds a model that is not registered here.
    """
    source = read_source(path)
    if source.card is None:
        raise FileError(f"{path} does not say which model it holds; use create_model(NAME, weights={str(path)!r})")
    entry = find(source.card.architecture)
    where = _check_place(device, None)
    arguments = as_arguments(source.card)
    _check_keywords(entry, arguments)
    return restore(entry, source, Asked(), arguments, aux=source.card.aux).to(device=where).eval()


def _check_keywords(entry: Entry, arguments: Mapping[str, Any]) -> None:
    own = [*own_arguments(entry), *VARIANTS]
    known = [*(item.name for item in fields(Asked)), *COMMON, *own]
    for key in arguments:
        if key not in own:
            raise ArgumentError(
                f"unknown keyword {key!r} for {entry.name!r}{near(key, known)} It takes {', '.join(sorted(known))}"
            )


def _check_place(device: str | torch.device | None, dtype: torch.dtype | None) -> torch.device | None:
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ArgumentError(f"dtype={dtype!r} must be a floating-point torch.dtype, as torch.float32 is")
    try:
        return None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f"device={device!r} must be a device of torch's, as 'cpu' or 'cuda:0'") from error
