"""What is known of a model before it is built: what its caller asks, and what its weights say or show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from ..errors import ArgumentError, MismatchError, check_int, suggestion
from ..nn import Net, build_network, check_head
from ..spec import (
    GLOBAL_POOLS,
    MAX_CHANNELS,
    VARIANT_ARGUMENTS,
    Chain,
    Concat,
    DataConfig,
    Depthwise,
    Entry,
    GlobalPool,
    Layer,
    Network,
    Op,
    Residual,
)
from ..weights import ModelMetadata, WeightSource, is_classifier, match_layout
from ._registry import network_arguments

COMMON = ("weights", "pretrained", "device", "dtype", "features_only", "out_indices", "cache_dir")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What the caller asked of any model; None is the weights' own, else the entry's."""

    num_classes: int | None = None
    in_chans: int | None = None
    global_pool: GlobalPool | None = None
    drop_rate: float | None = None

    def check(self, entry: Entry) -> None:
        """Check each number by itself, and that classes are not asked for without pooling."""
        pool: GlobalPool = "avg" if self.global_pool is None else self.global_pool
        classes = entry.num_classes if self.num_classes is None else self.num_classes
        check_head(classes, pool, 0.0 if self.drop_rate is None else self.drop_rate)
        if self.in_chans is not None:
            check_int("in_chans", self.in_chans, 1, MAX_CHANNELS)

    def options(self, entry: Entry, file: ModelOptions | None) -> dict[str, Any]:
        """Return the options of `build_network`, those of the file where the caller said nothing, then the entry's."""
        default = ModelOptions(entry.num_classes, entry.data.input_size[0], "avg")
        picked: dict[str, Any] = {}
        for item in fields(self):
            values = (getattr(asked, item.name) for asked in (self, file, default) if asked is not None)
            picked[item.name] = next((value for value in values if value is not None), None)
        return {**picked, "data": entry.data.sized(picked["in_chans"], *entry.data.input_size[1:])}


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of the model whose weights a source holds; None is the entry's own."""

    sizes: ModelOptions
    data: DataConfig | None = None
    class_names: tuple[str, ...] | None = None
    channels_last: bool = False


def check_keywords(entry: Entry, arguments: Mapping[str, Any]) -> None:
    """Refuse a keyword that no model, or not this one, takes.

    Raises:
        ArgumentError: it is unknown; the message names the near one.
    """
    own = [*network_arguments(entry), *VARIANT_ARGUMENTS]
    known = [*(item.name for item in fields(ModelOptions)), *COMMON, *own]
    for key in arguments:
        if key not in own:
            raise ArgumentError(
                f"unknown keyword {key!r} for {entry.name!r}{suggestion(key, known)} It takes {', '.join(sorted(known))}"
            )


def info_from_metadata(card: ModelMetadata) -> SourceInfo:
    """Return what the header of a file of ours says."""
    pool = next(pool for pool in GLOBAL_POOLS if pool == card.global_pool)
    sizes = ModelOptions(card.num_classes, card.in_chans, pool, card.drop_rate)
    names = None if card.class_names is None else tuple(card.class_names)
    return SourceInfo(sizes, DataConfig.from_json(card.data), names, card.channels_last)


def info_from_shapes(network: Network, entry: Entry, source: WeightSource) -> SourceInfo:
    """Return the number of classes and input channels that tensors show by their shapes; 0 classes without a classifier.

    Raises:
        MismatchError: the names are of no layout that the entry knows, or the shapes are no classifier's and no stem's.
    """
    keys = list(build_empty(network, ModelOptions().options(entry, None)).state_dict())
    table = match_layout(keys, source.tensors, entry.layouts, source.name, optional=is_classifier).table
    head, stem = source.tensors.get(table["head.fc.weight"]), source.tensors[table[keys[0]]]
    if stem.ndim != 4 or not stem.shape[1] or (head is not None and (head.ndim != 2 or not head.shape[0])):
        shapes = f"head {None if head is None else tuple(head.shape)} and stem {tuple(stem.shape)}"
        raise MismatchError(f"{source.name}: {shapes} do not fit {entry.name!r}; use weights of this model")
    first = _first(network.stages[0][1])
    in_chans = stem.shape[0] // first.multiplier if isinstance(first, Depthwise) else stem.shape[1]
    return SourceInfo(ModelOptions(0 if head is None else head.shape[0], in_chans, "avg"))


def build_empty(network: Network, options: dict[str, Any]) -> Net:
    """Return the network without weights (meta), or with random ones where a module of the user's own must set itself up."""
    own = any(_holds_op(layer) for _, layer in network.stages)
    with torch.device("cpu" if own else "meta"):
        return build_network(network, **options)


def _parts(layer: Layer) -> tuple[Layer, ...]:
    """Return the layers that a layer is made of, the first to run first."""
    match layer:
        case Chain():
            return layer.layers
        case Concat():
            return tuple(branch for _, branch in layer.branches)
        case Residual():
            return (layer.body,) if layer.shortcut is None else (layer.body, layer.shortcut)
        case _:
            return ()


def _first(layer: Layer) -> Layer:
    return _first(_parts(layer)[0]) if _parts(layer) else layer


def _holds_op(layer: Layer) -> bool:
    return isinstance(layer, Op) or any(map(_holds_op, _parts(layer)))
