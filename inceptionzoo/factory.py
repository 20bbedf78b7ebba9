"""Make models: the registry, `build` and weights in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from .build import build_network, with_aux
from .cost import Shape
from .entry import DataConfig, Entry
from .errors import ArgumentError, FileError, MismatchError, check_int, near
from .heads import check_head
from .net import Net
from .network import GlobalPool, Network
from .network_cost import min_input_size, network_cost, stage_costs
from .registry import find, make_network, own_arguments
from .spec import Chain, Concat, Layer, Op, Residual
from .weights.card import Card, as_arguments
from .weights.layout import recognise
from .weights.load import is_classifier, load_source
from .weights.source import Source, read_source


def create_model(
    name: str,
    pretrained: bool = False,
    *,
    weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    global_pool: GlobalPool | None = None,
    drop_rate: float | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **arguments: Any,
) -> Net:
    """Return the model `name`, with random weights or those of `weights`: (n, in_chans, h, w) -> (n, num_classes).

    `weights` is a .safetensors or .pth file, or a state dict; without `num_classes` and `in_chans` the model takes its
    sizes from it, with another `num_classes` it gets a new random head. `model.report` says what was loaded.
    `num_classes=0` gives features; with `global_pool=""` too, the last feature map. `drop_rate` is the dropout before the
    classifier; None is the network's own. Other keyword arguments are the model's own, such as `head="conv"` of VGG.

    Raises:
        UnknownModelError: no such model.
        ArgumentError: an unknown keyword, or a value outside its range; nothing is allocated then.
        WeightsError: the weights cannot be read, or do not fit.
    """
    entry = find(name)
    _check_keywords(entry, arguments)
    asked = Asked(num_classes, in_chans, global_pool, drop_rate)
    asked.check(entry)
    where = _check_place(device, dtype)
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
        model = _from_source(entry, source, asked, arguments)
    return model.to(device=where, dtype=dtype)


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
    return _from_source(entry, source, Asked(), {}, aux=source.card.aux).to(device=where).eval()


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


def _from_source(entry: Entry, source: Source, asked: Asked, arguments: Mapping[str, Any], *, aux: bool = False) -> Net:
    """Return the model with the source's weights: built for the source's sizes, then given the head that was asked for."""
    card = source.card
    own = {**(as_arguments(card) if card else {}), **arguments}
    _check_keywords(entry, own)
    network = make_network(entry, own)
    file = _asked_by(card) if card else _sizes(network, entry, source)
    _check_size(network, file, source)
    options = asked.options(entry, file)
    wanted = options["num_classes"], options["global_pool"]
    first = {**options, "num_classes": file.num_classes}
    if _widening(wanted[1]) != _widening(file.global_pool):
        first["global_pool"] = file.global_pool
    if card is not None:
        data = DataConfig.from_json(card.data)
        first["data"] = data.sized(options["in_chans"], *data.input_size[1:])
    model = _blank(network, {**first, "entry": entry, "arguments": own})
    model = with_aux(model) if aux else model
    report = load_source(model, source)
    if wanted != (model.num_classes, model.global_pool):
        model.reset_classifier(wanted[0], wanted[1])
        report.replaced = [key for key in model.state_dict() if is_classifier(key)]
        report.left_random = list(report.replaced)
    if card is not None and card.class_names is not None and model.num_classes == card.num_classes:
        model.set_class_names(card.class_names)
    if card is not None and card.channels_last:
        model.to(memory_format=torch.channels_last)
    return model


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


def _asked_by(card: Card) -> Asked:
    return Asked(card.num_classes, card.in_chans, card.global_pool, card.drop_rate)  # type: ignore[arg-type]  # checked later


def _sizes(network: Network, entry: Entry, source: Source) -> Asked:
    """Return the number of classes and input channels that a file without a card shows by its tensors' shapes."""
    model = _blank(network, Asked().options(entry, None))
    keys = list(model.state_dict())
    table = recognise(keys, source.tensors, entry.layouts, source.name).table
    head, stem = source.tensors[table["head.fc.weight"]], source.tensors[table[keys[0]]]
    if head.ndim != 2 or stem.ndim != 4 or not head.shape[0] or not stem.shape[1]:
        raise MismatchError(f"{source.name}: head {tuple(head.shape)} and stem {tuple(stem.shape)} do not fit {entry.name!r}")
    return Asked(head.shape[0], stem.shape[1], "avg")


def _widening(pool: str | None) -> int:
    """Return how many times wider than the map a pooled vector is; 0 where there is no pooling."""
    return {"": 0, "catavgmax": 2}.get(pool or "avg" if pool != "" else "", 1)


def _check_keywords(entry: Entry, arguments: Mapping[str, Any]) -> None:
    own = own_arguments(entry)
    known = [item.name for item in fields(Asked)] + ["weights", "pretrained", "device", "dtype"] + own
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
