"""Build the model that a source of weights asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from .build import build_network, with_aux
from .cost import Shape
from .entry import DataConfig, Entry
from .errors import MismatchError, check_int
from .heads import check_head
from .net import Net
from .network import GLOBAL_POOLS, GlobalPool, Network
from .network_cost import min_input_size, network_cost, stage_costs
from .registry import make_network
from .spec import Chain, Concat, Layer, Op, Residual
from .weights.card import Card
from .weights.layout import recognise
from .weights.load import Report, load_source
from .weights.source import Source


@dataclass(frozen=True, slots=True)
class Asked:
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
            check_int("in_chans", self.in_chans, 1)

    def options(self, entry: Entry, file: Asked | None) -> dict[str, Any]:
        """Return the options of `build_network`, those of the file where the caller said nothing, then the entry's."""
        default = Asked(entry.num_classes, entry.data.input_size[0], "avg")
        picked: dict[str, Any] = {}
        for item in fields(self):
            values = (getattr(asked, item.name) for asked in (self, file, default) if asked is not None)
            picked[item.name] = next((value for value in values if value is not None), None)
        return {**picked, "data": entry.data.sized(picked["in_chans"], *entry.data.input_size[1:])}


def restore(entry: Entry, source: Source, asked: Asked, arguments: Mapping[str, Any], *, aux: bool = False) -> Net:
    """Return the model with the source's weights: built for the source's sizes, then given the head that was asked for.

    Raises:
        WeightsError: the source does not fit the model, or asks for more than it holds; nothing large was built then.
    """
    card = source.card
    network = make_network(entry, arguments)
    file = _sizes(network, entry, source) if card is None else Asked(*_sizes_of(card))
    _check_size(network, file, source)
    options = asked.options(entry, file)
    classes, pool = options["num_classes"], options["global_pool"]
    first = {**options, "num_classes": file.num_classes}
    if _widening(pool) != _widening(file.global_pool):
        first["global_pool"] = file.global_pool
    if card is not None:
        data = DataConfig.from_json(card.data)
        first["data"] = data.sized(options["in_chans"], *data.input_size[1:])
    model = _blank(network, {**first, "entry": entry, "arguments": arguments})
    model = with_aux(model) if aux else model
    report = load_source(model, source)
    if (classes, pool) != (model.num_classes, model.global_pool):
        _new_head(model, classes, pool, report)
    if card is not None and card.class_names is not None and model.num_classes == card.num_classes:
        model.set_class_names(card.class_names)
    return model.to(memory_format=torch.channels_last) if card is not None and card.channels_last else model


def _new_head(model: Net, num_classes: int, global_pool: GlobalPool, report: Report) -> None:
    """Give the model another head, and say in the report which of its parameters are new."""
    before = dict(model.named_parameters())
    model.reset_classifier(num_classes, global_pool)
    after = dict(model.named_parameters())
    report.dropped += [key for key in before if key not in after]
    report.left_random = [key for key, value in after.items() if value is not before.get(key)]
    report.replaced = list(report.left_random)


def _check_size(network: Network, file: Asked, source: Source) -> None:
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


def _blank(network: Network, options: dict[str, Any]) -> Net:
    """Return the network without weights (meta), or with random ones where a module of the user's own must set itself up."""
    own = any(_holds_op(layer) for _, layer in network.stages)
    with torch.device("cpu" if own else "meta"):
        return build_network(network, **options)


def _holds_op(layer: Layer) -> bool:
    match layer:
        case Op():
            return True
        case Chain():
            return any(map(_holds_op, layer.layers))
        case Concat():
            return any(_holds_op(branch) for _, branch in layer.branches)
        case Residual():
            return _holds_op(layer.body) or (layer.shortcut is not None and _holds_op(layer.shortcut))
        case _:
            return False


def _sizes_of(card: Card) -> tuple[int, int, GlobalPool, float]:
    pool = next(pool for pool in GLOBAL_POOLS if pool == card.global_pool)
    return card.num_classes, card.in_chans, pool, card.drop_rate


def _sizes(network: Network, entry: Entry, source: Source) -> Asked:
    """Return the number of classes and input channels that a file without a card shows by its tensors' shapes."""
    model = _blank(network, Asked().options(entry, None))
    keys = list(model.state_dict())
    table = recognise(keys, source.tensors, entry.layouts, source.name).table
    head, stem = source.tensors[table["head.fc.weight"]], source.tensors[table[keys[0]]]
    if head.ndim != 2 or stem.ndim != 4 or not head.shape[0] or not stem.shape[1]:
        raise MismatchError(f"{source.name}: head {tuple(head.shape)} and stem {tuple(stem.shape)} do not fit {entry.name!r}")
    return Asked(head.shape[0], stem.shape[1], "avg")


def _widening(pool: GlobalPool | None) -> int:
    """Return how many times wider than the map a pooled vector is; 0 where there is no pooling."""
    return 0 if pool == "" else 2 if pool == "catavgmax" else 1
