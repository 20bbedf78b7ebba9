"""Build the model for a source of weights, and load them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..errors import MismatchError
from ..inference import folded_network, fuse
from ..nn import Net, Report, attach_aux_heads, build_network, placeholder_device, to_channels_last
from ..spec import (
    NATIVE,
    DataConfig,
    Entry,
    GlobalPool,
    Network,
    Shape,
    first_difference,
    make_network,
    min_input_size,
    network_arguments,
    network_cost,
)
from ..weights import ModelMetadata, WeightSource, load_source
from ._options import ModelOptions, SourceInfo, check_keywords, info_from_metadata, options_from_shapes
from ._registry import REGISTRY, find_entry
from ._similar import describe_similar_models

EMBEDDING = "head.hidden.fc1.weight"


def build_from_weights(
    entry: Entry,
    source: WeightSource,
    info: SourceInfo,
    options: ModelOptions,
    arguments: Mapping[str, Any],
    *,
    aux: bool = False,
    dtype: torch.dtype | None = None,
) -> Net:
    """Return the model with the source's weights, cast to `dtype`; `options` and `arguments` are the caller's.

    The model is built once, on the meta device, with the sizes of the source. It takes the source's tensors. Only then is the
    head replaced, if the caller asked for another one.

    Raises:
        ArgumentError: the source describes its model with a keyword that the entry does not take.
        WeightsError: the source does not fit the model, has fewer values than the model that it describes, or holds another
            network than the entry.
    """
    network = _make_network(entry, source, info, arguments)
    arguments = {**info.arguments, **arguments}
    fused = source.metadata is not None and source.metadata.fused
    _check_embedding(network, entry, source)
    sizes = info.options or options_from_shapes(network, entry, source)
    device = placeholder_device(network.style, *(layer for _, layer in network.stages), *(aux.layers for aux in network.aux))
    if info.options or device.type != "meta":  # in other cases, nothing is allocated before the shapes are compared
        _check_size(folded_network(network) if fused else network, sizes, source)
    merged = options.merged(entry, sizes)
    final = merged["num_classes"], merged["global_pool"]
    if sizes.num_classes is not None:
        merged["num_classes"] = sizes.num_classes
    if _pooled_width(merged["global_pool"]) != _pooled_width(sizes.global_pool):
        merged["global_pool"] = sizes.global_pool
    merged["data"] = merged["data"].with_spatial_dims(network.spatial_dims)
    if info.data is not None:
        _check_dimensions(network, info.data, source)
        merged["data"] = info.data.sized(merged["in_chans"], *info.data.size)
    with device:
        model = build_network(network, **merged, entry=entry if entry.name else None, arguments=arguments)
    model = (attach_aux_heads(model) if aux else model).to(dtype=dtype)
    model = fuse(model) if fused else model
    report = load_source(model, source)
    if source.metadata is None and info.data is None:
        report.also_fits = describe_similar_models(entry, network, sizes.num_classes)
    if final != (model.num_classes, model.global_pool):
        _replace_head(model, *final, report)
    if info.task is not None and model.num_classes == sizes.num_classes:
        model.task = info.task
    if info.class_names is not None and model.num_classes == sizes.num_classes:
        model.set_class_names(info.class_names)
    return to_channels_last(model) if info.channels_last else model


def build_from_metadata(source: WeightSource, *, dtype: torch.dtype | None = None) -> Net:
    """Return the model that a file of this library describes in its header, cast to `dtype`.

    Raises:
        UnknownModelError: the header's architecture is not registered, and the header does not hold its network.
        ArgumentError: the header has a keyword that the model does not take.
        WeightsError: as `build_from_weights`.
    """
    metadata = source.metadata
    assert metadata is not None
    entry = find_saved_entry(metadata)
    return build_from_weights(entry, source, info_from_metadata(metadata), ModelOptions(), {}, aux=metadata.aux, dtype=dtype)


def find_saved_entry(metadata: ModelMetadata) -> Entry:
    """Return the registered entry of a file's model, or one that is made of the file's network and not registered.

    The name of the entry is "" if the network has none.

    Raises:
        UnknownModelError: the architecture is not registered, and the file does not hold its network.
    """
    name = metadata.architecture
    if metadata.network is None or name in REGISTRY:
        return find_entry(name)
    data = DataConfig.from_json(metadata.data)
    return Entry(name=name, network=metadata.network, paper="", num_classes=metadata.num_classes, data=data)


def _make_network(entry: Entry, source: WeightSource, info: SourceInfo, arguments: Mapping[str, Any]) -> Network:
    """Return the network of an entry with the source's arguments and the caller's.

    Raises:
        ArgumentError: the entry does not take an argument.
        MismatchError: the source holds another network than the entry gives with the source's arguments.
    """
    if info.network is not None and entry.network is info.network:  # `find_saved_entry` made it; info.arguments are applied
        check_keywords(entry, arguments)
        return make_network(entry, arguments)
    check_keywords(entry, {**info.arguments, **arguments})
    if info.network is not None:
        difference = first_difference(info.network, make_network(entry, info.arguments))
        if difference:
            raise MismatchError(
                f"{source.name} holds another network than the one registered as {entry.name!r}: {difference}, the file's "
                "first; register yours under another name, or load the file in a process that does not register it"
            )
    return make_network(entry, {**info.arguments, **arguments})


def _replace_head(model: Net, num_classes: int, global_pool: GlobalPool, report: Report) -> None:
    """Give the model another head, and record in the report which parameters are new."""
    before = dict(model.named_parameters())
    model.reset_classifier(num_classes, global_pool)
    after = dict(model.named_parameters())
    report.dropped += [key for key in before if key not in after]
    report.left_random = [key for key, value in after.items() if value is not before.get(key)]
    report.replaced = list(report.left_random)


def _check_embedding(network: Network, entry: Entry, source: WeightSource) -> None:
    """Raise MismatchError if the source has an embedding of another width, and the model takes `bottleneck`."""
    if network.head.kind != "embed" or "bottleneck" not in network_arguments(entry):
        return
    for layout in (NATIVE, *entry.layouts):
        embedding = source.tensors.get(layout.theirs(EMBEDDING))
        if embedding is not None and embedding.ndim == 2 and len(embedding) != network.head.hidden[0]:
            widths = f"its embedding has {len(embedding)} values, the model's {network.head.hidden[0]}"
            raise MismatchError(f"{source.name}: {widths}; pass bottleneck={len(embedding)}")


def _check_dimensions(network: Network, data: DataConfig, source: WeightSource) -> None:
    """Check that the source states the size of inputs with as many dimensions as the network has."""
    if len(data.size) != network.spatial_dims:
        stated = f"its input_size {data.input_size} is not that of a model of spatial_dims={network.spatial_dims}"
        raise MismatchError(f"{source.name}: {stated}; load it into its own model, and see inflate for one of videos")


def _check_size(network: Network, sizes: ModelOptions, source: WeightSource) -> None:
    """Check, before anything is built, that the source has at least as many values as the network has parameters."""
    channels, side = sizes.in_chans or 1, min_input_size(network, in_channels=sizes.in_chans or 1)
    shape = Shape(channels, *(side,) * network.spatial_dims)
    pool: GlobalPool = "avg" if sizes.global_pool is None else sizes.global_pool
    needed = network_cost(network, shape, sizes.num_classes or 0, pool=pool).params
    count = sum(tensor.numel() for tensor in source.tensors.values())
    if needed > count:
        remedy = "use weights of this model, made with the same arguments" if source.metadata is None else "save it again"
        raise MismatchError(f"{source.name} is for a model of {needed:,} parameters and holds {count:,} values; {remedy}")


def _pooled_width(pool: GlobalPool | None) -> int:
    """Return the width of the pooled vector as a multiple of the map's channels; 0 without pooling."""
    return 0 if pool == "" else 2 if pool == "catavgmax" else 1
