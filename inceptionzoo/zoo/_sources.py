"""Read weights, and what their source says about the model, from a repository, a file or a published tag."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, FileError, MismatchError, UnknownModelError
from ..spec import Entry, Network, Published, make_network
from ..weights import (
    HubConfig,
    WeightSource,
    as_published,
    locate_network,
    other_arguments,
    read_config,
    read_weight_file,
    read_weights,
    recognise_published,
)
from ..weights.download import CONFIG, HUB, WEIGHTS, open_repository, read_checkpoint
from ._options import ModelOptions, SourceInfo, check_keywords, info_from_metadata, options_from_shapes
from ._registry import find_entry, is_model
from ._restore import find_saved_entry

CacheFolder = str | os.PathLike[str] | None
SAME_SUFFIX = "_same"  # of the names in timm's registry of models with padding="same"
Weights = str | os.PathLike[str] | Mapping[str, Any] | WeightSource


def read_repository(reference: str, cache_dir: CacheFolder) -> tuple[Entry, WeightSource, SourceInfo]:
    """Return what "hf-hub:owner/name@revision" or "local-dir:path" holds. It may be a model of this library or of timm.

    Raises:
        DownloadError: the repository is not cached and cannot be downloaded.
        FileError: its config.json or its weights are damaged, or contradict each other.
        UnknownModelError: its architecture is not registered.
    """
    repository = open_repository(reference, cache_dir)
    config, source = repository.read(CONFIG, read_config), repository.read(WEIGHTS, read_weight_file)
    metadata = source.metadata
    if metadata is not None:
        if metadata.architecture != config.architecture:
            difference = f"{CONFIG} says {config.architecture!r}, {WEIGHTS} {metadata.architecture!r}"
            raise FileError(f"{reference}: {difference}; save it again")
        return find_saved_entry(metadata), source, info_from_metadata(metadata)
    config = _without_suffix(config)
    try:
        entry = find_entry(config.architecture)
    except UnknownModelError as error:
        raise UnknownModelError(f"{reference}: {error}") from error
    common = {item.name for item in fields(ModelOptions)}  # timm lists these among the model's arguments
    arguments = {key: value for key, value in config.arguments.items() if key not in common}
    check_keywords(entry, arguments)
    options = options_from_shapes(make_network(entry, arguments), entry, source)
    names = _fitting_class_names(reference, config, options.num_classes)
    options = replace(options, global_pool=config.global_pool)
    try:
        data = config.data_config(entry.data)
    except ArgumentError as error:
        raise FileError(f"{reference}: {CONFIG} does not describe the preprocessing: {error}; save it again") from error
    return entry, replace(source, data=data), SourceInfo(options, arguments, data, names, task=config.task)


def _fitting_class_names(reference: str, config: HubConfig, num_classes: int | None) -> tuple[str, ...] | None:
    """Return the class names of a config.json, or None, with a warning, if it does not fit the number of classes."""
    if num_classes not in (None, config.num_classes):
        text = f"says {config.num_classes} classes, {WEIGHTS} has {num_classes}, which is used"
    elif not config.fits_class_names():
        found = len(config.class_names or ())
        text = f"has {found} label_names for {num_classes} classes, and they are left out; call model.set_class_names"
    else:
        return config.class_names
    warnings.warn(f"{reference}: {CONFIG} {text}", stacklevel=4)  # the call of create_model
    return None


def _without_suffix(config: HubConfig) -> HubConfig:
    """Return the configuration of "NAME_same", which timm saved, as that of "NAME" with padding="same"."""
    name = config.architecture
    if is_model(name) or not name.endswith(SAME_SUFFIX):
        return config
    return replace(config, architecture=name.removesuffix(SAME_SUFFIX), arguments={"padding": "same", **config.arguments})


def read_file(entry: Entry, tag: str | None, weights: Weights, cache_dir: CacheFolder) -> tuple[WeightSource, SourceInfo]:
    """Return the weights of `create_model(weights=...)`, and what is known about their model.

    A file without metadata is the publisher's own if there is a tag, or if `recognise_published` finds one.

    Raises:
        WeightsError: the weights cannot be read, or are of another architecture.
    """
    if entry.weights and isinstance(weights, str) and weights.isidentifier() and not Path(weights).exists():
        remedy = f"pretrained=True loads published weights, create_model('{entry.name}.TAG', pretrained=True) those of a tag"
        raise FileError(f"weights={weights!r} is not a file; {remedy}")
    source = read_weights(weights, cache_dir=cache_dir)
    metadata = source.metadata
    if metadata is not None and metadata.architecture != entry.name:
        raise MismatchError(
            f"{source.name} holds {metadata.architecture or 'a network without a name'!r}, not {entry.name!r}; use "
            "load_model(path)"
            + (f", or create_model({metadata.architecture!r}, weights=path)" if metadata.architecture else "")
        )
    if metadata is not None:
        return source, info_from_metadata(metadata)
    if tag:
        named = replace(source, name=f"{source.name} as {entry.name}.{tag}")
        return as_published(entry, tag, _network(entry, tag), named), info_from_row(entry.weights[tag])
    network = make_network(entry, {})
    found, source = recognise_published(entry, network, source)
    if found:
        return source, info_from_row(entry.weights[found])
    location = locate_network(network, source, entry.layouts)
    if location is None:
        return source, SourceInfo()
    return source, SourceInfo(arguments=other_arguments(location.layout, entry, {}), data=location.layout.data)


def load_published(entry: Entry, tag: str | None, cache_dir: CacheFolder) -> tuple[WeightSource, SourceInfo]:
    """Return published weights, from a cache or downloaded. Without a tag, they are those of the entry's first tag.

    Raises:
        ArgumentError: the entry has no published weights.
        DownloadError: the weights are not cached and cannot be downloaded.
        WeightsError: the file is damaged, or not the published one.
    """
    if not entry.weights:
        raise ArgumentError(f"pretrained=True: no published weights are listed for {entry.name!r}; pass weights=FILE")
    tag = tag or next(iter(entry.weights))
    row = entry.weights[tag]
    if row.url.startswith(HUB):
        repository = open_repository(row.url, cache_dir, name=WEIGHTS, newest=False)
        source = repository.read(WEIGHTS, read_weight_file)
    else:
        source = read_checkpoint(row, read_weight_file, cache_dir)
    return as_published(entry, tag, _network(entry, tag), replace(source, name=row.url)), info_from_row(row)


def info_from_row(row: Published) -> SourceInfo:
    """Return what the registry says about published weights."""
    return SourceInfo(ModelOptions(row.num_classes, row.data.input_size[0], "avg"), row.arguments, row.data)


def _network(entry: Entry, tag: str) -> Network:
    return make_network(entry, entry.weights[tag].arguments)
