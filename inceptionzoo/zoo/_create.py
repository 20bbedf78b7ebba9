"""Create models from names, files and repositories.

A model with weights is created in three steps. `_sources` reads the tensors and the description of their model, `SourceInfo`.
`_restore` merges it with the caller's `ModelOptions` and builds the model once, on the meta device. Then it loads the tensors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal, overload

import torch

from ..errors import ArgumentError, FileError, check_flag, check_path, plain_int
from ..nn import FeatureNet, Indices, Net, build_network, check_device
from ..spec import Entry, GlobalPool, feature_levels, make_network, resolve_taps
from ..weights import WeightSource, read_weights
from ..weights.download import is_reference
from ._options import ModelOptions, SourceInfo, check_keywords
from ._registry import find_entry_and_tag, is_model
from ._restore import build_from_metadata, build_from_weights
from ._sources import Weights, info_from_row, load_published, read_file, read_repository


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
    """Return the model `name` in training mode: (n, in_chans, h, w) -> (n, num_classes). By default its weights are random.

    `pretrained=True` loads published weights: those of the tag in "name.tag", else the first in `model_info(name).weights`.
    `weights` loads a .safetensors, .pth, .keras or .h5 file, or a state dict. `name` can also be a repository with a
    config.json, "hf-hub:OWNER/NAME@REVISION" or "local-dir:PATH"; its weights are always loaded. `num_classes` and `in_chans`
    default to those of the weights. Another `num_classes` gives a new classifier with random weights. Another `in_chans` adapts
    the first convolution of weights for 3 channels. `model.report` says what was loaded.

    `device` is the device of the model, for example "cuda:0". `dtype` is the floating-point dtype of its weights, for example
    torch.bfloat16; the tensors of a file are cast to it. None stands for torch's default device and dtype.

    Files of the Hub are cached by huggingface_hub, files of other hosts in the folder INCEPTIONZOO_CACHE or
    ~/.cache/inceptionzoo. `cache_dir` replaces both.

    With `num_classes=0` the model returns features; with `global_pool=""` as well, the last feature map. `drop_rate` is the
    dropout rate of the head; None keeps the network's own. `features_only=True` gives a `FeatureNet`, which has no head and
    returns a list of maps: one of each resolution, or those of `out_indices` (indices into `feature_info`, or stage names).

    Every model takes the keywords of `apply_variants`: spatial_dims, time_padding, padding, include_pad, ceil_mode,
    output_stride, act_layer, norm_layer and drop_path_rate. Other keywords belong to one family, for example `head="conv"` to
    VGG.

    Raises:
        UnknownModelError: there is no such model, or it has no such published weights.
        KeywordError: a keyword is unknown; it is an ArgumentError and a TypeError. Nothing has been allocated.
        ArgumentError: a value is outside its range. Nothing has been allocated.
        WeightsError: the weights cannot be read or downloaded, or do not fit.
    """
    check_flag("pretrained", pretrained)
    check_flag("features_only", features_only)
    target = _check_target(device, dtype)
    num_classes, in_chans = plain_int(num_classes), plain_int(in_chans)
    arguments = {key: plain_int(value) for key, value in arguments.items()}
    loaded: tuple[WeightSource, SourceInfo] | None = None
    if is_reference(name):
        entry, source, info = read_repository(name, cache_dir)
        tag, loaded = None, (source, info)
    else:
        entry, tag = find_entry_and_tag(name)
    check_keywords(entry, arguments)
    if weights is not None and (pretrained or loaded):
        raise ArgumentError(f"weights={_describe(weights)} and published weights were both asked for; leave one out")
    if features_only:
        _check_features(num_classes, global_pool)
        num_classes, global_pool = 0, ""
    options = ModelOptions(num_classes, in_chans, global_pool, drop_rate)
    options.check(entry)
    _check_indices(out_indices, entry, arguments, features_only=features_only)
    if weights is not None:
        loaded = read_file(entry, tag, weights, cache_dir)
    elif pretrained and loaded is None:
        _check_dimensions(entry, arguments)
        loaded = load_published(entry, tag, cache_dir)
    if loaded is None:
        model = _build_random(entry, tag, options, arguments, target)
    else:
        model = build_from_weights(entry, *loaded, options, arguments, dtype=dtype)
    model.to(device=target or torch.get_default_device(), dtype=dtype)
    if not features_only:
        return model
    maps = FeatureNet(model, out_indices)
    if maps.report is not None:
        maps.report.dropped += maps.removed
    return maps


def _check_features(num_classes: int | None, global_pool: GlobalPool | None) -> None:
    if num_classes or global_pool:
        values = f"num_classes={num_classes!r}, global_pool={global_pool!r}"
        raise ArgumentError(f"{values}: features_only=True leaves no head for them; leave them out")


def _check_indices(out_indices: Indices, entry: Entry, arguments: Mapping[str, Any], *, features_only: bool) -> None:
    """Check `out_indices`, before anything is built."""
    if out_indices is None:
        return
    if not features_only:
        raise ArgumentError(f"out_indices={out_indices!r} has no effect without features_only=True")
    network = make_network(entry, arguments)
    levels = [level.name for level in feature_levels(network, entry.data.input_size[0])]
    resolve_taps("out_indices", out_indices, levels, dict(network.stages))


def _check_dimensions(entry: Entry, arguments: Mapping[str, Any]) -> None:
    """Check, before a download, that the published weights have as many spatial dimensions as the model."""
    wanted, published = (make_network(entry, values).spatial_dims for values in (arguments, {}))
    if wanted != published:
        raise ArgumentError(
            f"spatial_dims={wanted}: the published weights of {entry.name!r} have {published}; "
            f"inflate(create_model({entry.name!r}, pretrained=True), length=16) makes a model for videos or volumes of them"
        )


def _describe(weights: Weights) -> str:
    if isinstance(weights, Mapping):
        return "a state dict"
    return repr(weights.name if isinstance(weights, WeightSource) else str(weights))


def _build_random(
    entry: Entry, tag: str | None, options: ModelOptions, arguments: Mapping[str, Any], device: torch.device | None
) -> Net:
    """Return the model with random weights. A tag gives it the sizes, arguments and preprocessing of its weights."""
    info = info_from_row(entry.weights[tag]) if tag else SourceInfo()
    arguments = {**info.arguments, **arguments}
    merged = options.merged(entry, info.options)
    if info.data is not None:
        merged["data"] = info.data.sized(merged["in_chans"], *info.data.size)
    network = make_network(entry, arguments)
    merged["data"] = merged["data"].with_spatial_dims(network.spatial_dims)
    with device or nullcontext():
        return build_network(network, **merged, entry=entry, arguments=arguments)


def load_model(
    path: str | os.PathLike[str], *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> Net:
    """Return the model that `save_weights` wrote to `path`, in evaluation mode.

    `path` can also be a repository with such a file, "hf-hub:OWNER/NAME@REVISION" or "local-dir:PATH". `device` and `dtype` are
    those of `create_model`: the weights of a model in torch.float64 keep their values with dtype=torch.float64 only.

    Raises:
        ArgumentError: `device` is not available, or `dtype` is no floating-point dtype.
        FileError: `save_weights` did not write the file, or it is damaged.
        UnknownModelError: its model is not registered, and the file does not hold its network.
        MismatchError: the weights do not fit the model, or another network is registered under its name.
    """
    target = _check_target(device, dtype)
    if isinstance(path, str) and is_model(path) and not os.path.exists(path):
        raise FileError(
            f"{path} is a model and not a file; use create_model({path!r}), with pretrained=True for published weights"
        )
    source = read_weights(path if is_reference(path) else check_path("path", path))
    if source.metadata is None:
        remedy = f"create_model({path!r})" if is_reference(path) else f"create_model(NAME, weights={str(path)!r})"
        raise FileError(f"{path} does not say which model it holds; use {remedy}")
    return build_from_metadata(source, dtype=dtype).to(device=target or torch.get_default_device()).eval()


def _check_target(device: str | torch.device | None, dtype: torch.dtype | None) -> torch.device | None:
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ArgumentError(f"dtype={dtype!r} must be a floating-point torch.dtype such as torch.float32")
    return check_device(device)
