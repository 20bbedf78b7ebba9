"""Make models: the registry, `build` and weights in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal, overload

import torch

from ..errors import ArgumentError, FileError, MismatchError, check_flag, check_path
from ..nn import FeatureNet, Indices, Net, build_network, check_device
from ..spec import Entry, GlobalPool, feature_levels, resolve_stages
from ..weights import WeightSource, model_arguments, read_weights
from ..weights.download import is_reference
from ._options import ModelOptions, check_keywords
from ._pretrained import Repository, as_published, load_published, load_repository
from ._registry import find_entry_and_tag, make_network
from ._restore import build_from_metadata, build_from_weights

Weights = str | os.PathLike[str] | Mapping[str, Any] | WeightSource


@overload
def create_model(name: str, pretrained: bool = False, *, features_only: Literal[True], **arguments: Any) -> FeatureNet: ...
@overload
def create_model(name: str, pretrained: bool = False, *, features_only: Literal[False] = False, **arguments: Any) -> Net: ...
@overload
def create_model(name: str, pretrained: bool = False, *, features_only: bool, **arguments: Any) -> Net | FeatureNet: ...
def create_model(
    name: str,
    pretrained: bool = False,
    *,
    features_only: bool = False,
    out_indices: Indices = None,
    weights: Weights | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    global_pool: GlobalPool | None = None,
    drop_rate: float | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **arguments: Any,
) -> Net | FeatureNet:
    """Return the model `name`, with random weights or those asked for: (n, in_chans, h, w) -> (n, num_classes).

    `weights` is a .safetensors or .pth file, or a state dict. `pretrained` gives published ones: those of the tag in
    "name.tag", else of the first one that `model_info(name).weights` lists; they are downloaded once, checked, and kept in
    `cache_dir`. A name "hf-hub:OWNER/NAME@REVISION" or "local-dir:PATH" is a repository with its config.json. In all of
    these the model takes its sizes from the weights where `num_classes` and `in_chans` are not given; with another
    `num_classes` it gets a new random head. `model.report` says what was loaded.

    `num_classes=0` gives features; with `global_pool=""` too, the last feature map. `drop_rate` is the dropout before the
    classifier; None is the network's own. `features_only` gives a `FeatureNet` without a head, whose `forward` is a list
    of maps: one of each resolution, or those of `out_indices` (levels of `feature_info`, or names of stages). Every
    model takes the arguments of `variants.vary` (padding, include_pad, ceil_mode, output_stride, act_layer, norm_layer,
    drop_path_rate); others are the model's own, such as `head="conv"` of VGG.

    Raises:
        UnknownModelError: no such model, or no such published weights of it.
        ArgumentError: an unknown keyword, or a value outside its range; nothing is allocated then.
        WeightsError: the weights cannot be read or fetched, or do not fit.
    """
    check_flag("pretrained", pretrained)
    check_flag("features_only", features_only)
    where = _check_place(device, dtype)
    found = load_repository(name, cache_dir) if is_reference(name) else None
    entry, tag = (found.entry, None) if found else find_entry_and_tag(name)
    check_keywords(entry, arguments)
    if weights is not None and (pretrained or found):
        raise ArgumentError(f"weights={_short(weights)} and published weights were both asked for; leave one out")
    if features_only:
        _check_features(num_classes, global_pool)
    asked = (
        ModelOptions(0, in_chans, "", drop_rate)
        if features_only
        else ModelOptions(num_classes, in_chans, global_pool, drop_rate)
    )
    asked.check(entry)
    _check_indices(out_indices, entry, arguments, features_only=features_only)
    if found is None and (pretrained or weights is not None):
        found = _weights_of(entry, tag, weights, cache_dir)
    if found is None:
        model = _random(entry, tag, asked, arguments, where)
    else:
        own = {**found.arguments, **arguments}
        check_keywords(entry, own)
        model = build_from_weights(entry, found.source, asked, own, known=found.known, dtype=dtype)
    model.to(device=where, dtype=dtype)
    return FeatureNet(model, out_indices) if features_only else model


def _check_features(num_classes: int | None, global_pool: GlobalPool | None) -> None:
    if num_classes or global_pool:
        asked_for = f"num_classes={num_classes!r}, global_pool={global_pool!r}"
        raise ArgumentError(f"{asked_for}: features_only=True leaves no head for them; leave them out")


def _check_indices(out_indices: Indices, entry: Entry, arguments: Mapping[str, Any], *, features_only: bool) -> None:
    """Check which maps a feature network is to give, before anything is built."""
    if out_indices is None:
        return
    if not features_only:
        raise ArgumentError(f"out_indices={out_indices!r} has no effect without features_only=True")
    network = make_network(entry, arguments)
    named = [level.name for level in feature_levels(network, entry.data.input_size[0])]
    resolve_stages("out_indices", out_indices, named, [stage for stage, _ in network.stages])


def _short(weights: Weights) -> str:
    return (
        "a state dict"
        if isinstance(weights, Mapping)
        else repr(weights.name if isinstance(weights, WeightSource) else str(weights))
    )


def _random(
    entry: Entry, tag: str | None, asked: ModelOptions, arguments: Mapping[str, Any], where: torch.device | None
) -> Net:
    """Return the model with random weights, of the arguments and for the images of a tag."""
    row = entry.weights[tag] if tag else None
    own = {**(row.arguments if row else {}), **arguments}
    options = asked.options(entry, ModelOptions(row.num_classes) if row else None)
    if row:
        options["data"] = row.data.sized(options["in_chans"], *row.data.input_size[1:])
    with where or nullcontext():
        return build_network(make_network(entry, own), **options, entry=entry, arguments=own)


def _weights_of(entry: Entry, tag: str | None, weights: Weights | None, cache_dir: str | os.PathLike[str] | None) -> Repository:
    """Return the weights of a file or a state dict, or published ones."""
    if weights is not None:
        source = read_weights(weights, cache_dir=cache_dir)
    elif not entry.weights:
        raise ArgumentError(f"pretrained=True: no published weights are listed for {entry.name!r}; pass weights=FILE")
    else:
        source = load_published(entry, tag or next(iter(entry.weights)), cache_dir)
    card = source.metadata
    if card is not None and card.architecture != entry.name:
        raise MismatchError(
            f"{source.name} holds {card.architecture!r}, not {entry.name!r}; use load_model(path), or "
            f"create_model({card.architecture!r}, weights=path)"
        )
    if weights is not None and tag and card is None:  # the publisher's own file, fetched by the caller
        return as_published(entry, entry.weights[tag], replace(source, name=f"{source.name} as {entry.name}.{tag}"))
    return Repository(entry, model_arguments(card) if card else {}, source, None)


def load_model(path: str | os.PathLike[str], *, device: str | torch.device | None = None) -> Net:
    """Return the model that `save_weights` wrote, from its file alone, in evaluation mode.

    Raises:
        FileError: it is no file of this library; the message says what to use instead.
        UnknownModelError: it holds a model that is not registered here.
    """
    where = check_device(device)
    source = read_weights(path if is_reference(path) else check_path("path", path))
    if source.metadata is None:
        raise FileError(f"{path} does not say which model it holds; use create_model(NAME, weights={str(path)!r})")
    return build_from_metadata(source).to(device=where).eval()


def _check_place(device: str | torch.device | None, dtype: torch.dtype | None) -> torch.device | None:
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ArgumentError(f"dtype={dtype!r} must be a floating-point torch.dtype, as torch.float32 is")
    return check_device(device)
