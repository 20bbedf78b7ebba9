"""Build the model that a source of weights asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..errors import MismatchError
from ..inference import folded_network, fuse
from ..nn import Net, Report, with_aux
from ..spec import Entry, GlobalPool, Network, Shape, min_input_size, network_cost, stage_costs
from ..weights import WeightSource, load_source, model_arguments
from ._options import ModelOptions, SourceInfo, build_empty, check_keywords, info_from_metadata, info_from_shapes
from ._registry import find_entry, make_network


def build_from_weights(
    entry: Entry,
    source: WeightSource,
    asked: ModelOptions,
    arguments: Mapping[str, Any],
    *,
    known: SourceInfo | None = None,
    aux: bool = False,
    dtype: torch.dtype | None = None,
) -> Net:
    """Return the model with the source's weights: built for the source's sizes, then given the head that was asked for.

    `known` is what is said of the source elsewhere; without it, its own header or its tensors' shapes tell. The values are
    cast to `dtype` and checked after.

    Raises:
        WeightsError: the source does not fit the model, or asks for more than it holds; nothing large was built then.
    """
    network = make_network(entry, arguments)
    fused = source.metadata is not None and source.metadata.fused
    if known is None:
        known = info_from_shapes(network, entry, source) if source.metadata is None else info_from_metadata(source.metadata)
    _check_size(folded_network(network) if fused else network, known.sizes, source)
    options = asked.options(entry, known.sizes)
    classes, pool = options["num_classes"], options["global_pool"]
    first = {**options, "num_classes": known.sizes.num_classes}
    if _widening(pool) != _widening(known.sizes.global_pool):
        first["global_pool"] = known.sizes.global_pool
    if known.data is not None:
        first["data"] = known.data.sized(options["in_chans"], *known.data.input_size[1:])
    model = build_empty(network, {**first, "entry": entry, "arguments": arguments})
    model = (with_aux(model) if aux else model).to(dtype=dtype)
    model = fuse(model) if fused else model
    report = load_source(model, source)
    if (classes, pool) != (model.num_classes, model.global_pool):
        _new_head(model, classes, pool, report)
    if known.class_names is not None and model.num_classes == known.sizes.num_classes:
        model.set_class_names(known.class_names)
    return model.to(memory_format=torch.channels_last) if known.channels_last else model


def build_from_metadata(source: WeightSource) -> Net:
    """Return the model that a file of ours describes in its header, which has to be there.

    Raises:
        UnknownModelError: it is not registered here.
        ArgumentError: it is described with a keyword that the model does not take.
        WeightsError: as `restore`.
    """
    card = source.metadata
    assert card is not None
    entry, arguments = find_entry(card.architecture), model_arguments(card)
    check_keywords(entry, arguments)
    return build_from_weights(entry, source, ModelOptions(), arguments, aux=card.aux)


def _new_head(model: Net, num_classes: int, global_pool: GlobalPool, report: Report) -> None:
    """Give the model another head, and say in the report which of its parameters are new."""
    before = dict(model.named_parameters())
    model.reset_classifier(num_classes, global_pool)
    after = dict(model.named_parameters())
    report.dropped += [key for key in before if key not in after]
    report.left_random = [key for key, value in after.items() if value is not before.get(key)]
    report.replaced = list(report.left_random)


def _check_size(network: Network, file: ModelOptions, source: WeightSource) -> None:
    """Check that the source holds as many numbers as the network that it asks for has parameters; nothing is built yet."""
    channels, side = file.in_chans or 1, min_input_size(network, in_channels=file.in_chans or 1)
    shape = Shape(channels, side, side)
    if file.global_pool:
        needed = network_cost(network, shape, file.num_classes or 0).params
    else:
        needed = sum(cost.params for _, _, cost in stage_costs(network, shape))
    held = sum(tensor.numel() for tensor in source.tensors.values())
    if needed > held:
        raise MismatchError(
            f"{source.name} asks for a model of {needed:,} parameters and holds {held:,} numbers; save it again"
        )


def _widening(pool: GlobalPool | None) -> int:
    """Return how many times wider than the map a pooled vector is; 0 where there is no pooling."""
    return 0 if pool == "" else 2 if pool == "catavgmax" else 1
