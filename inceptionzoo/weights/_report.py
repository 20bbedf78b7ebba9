"""What a report says of the arguments and the preprocessing of a model and of the weights that were loaded into it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..nn import FeatureNet, Net, default_task
from ..spec import DataConfig, first_difference
from ._metadata import with_tuples
from ._published import fitting_rows
from ._source import WeightSource


def describe_differences(model: Net | FeatureNet, source: WeightSource) -> dict[str, str]:
    """Return {name: description} of each argument and preprocessing setting in which a model differs from the saved one.

    Networks whose arguments agree are compared too, at the first place where they differ.
    """
    metadata, pairs, data = source.metadata, dict[str, tuple[Any, Any]](), source.data
    if metadata is not None:
        ours, theirs = with_tuples(model.arguments), with_tuples(metadata.arguments)
        pairs = {key: (theirs.get(key), ours.get(key)) for key in sorted({*ours, *theirs})}
        data = DataConfig.from_json(metadata.data)
    elif data is not None:
        data = data.sized(model.in_chans, *data.size)
    if data is not None:
        pairs |= {f"data.{item.name}": (getattr(data, item.name), getattr(model.data, item.name)) for item in fields(data)}
    if metadata is not None and isinstance(model, Net):
        pairs |= {"global_pool": (metadata.global_pool, model.global_pool)}
        if metadata.num_classes == model.num_classes:
            pairs |= {"task": (metadata.task or default_task(metadata.num_classes), model.task)}
        if model.class_names is not None and metadata.class_names:
            pairs |= {"class_names": (list(metadata.class_names), list(model.class_names))}
    differences = {key: f"saved with {old!r}, here {value!r}" for key, (old, value) in pairs.items() if old != value}
    saved = None if metadata is None or not isinstance(model, Net) or ours != theirs else metadata.network
    if saved is not None and saved != model.network:
        differences["network"] = f"{first_difference(saved, model.network)}, the saved value first"
    return differences


def describe_assumption(model: Net | FeatureNet, layout: str, source: WeightSource) -> str:
    """Return the preprocessing that the model assumes for a source that states none.

    Published weights of this layout that have another one are named, if the source could be a file of theirs.
    """
    data = model.data
    size = " x ".join(map(str, data.size))
    text = f"assumed, as the source states none: {size} px, mean {data.mean}, std {data.std}"
    if model.origin is None:
        return text
    entry = model.origin.entry
    rows = {
        tag: row.data.sized(model.in_chans, *data.size)
        for tag, row in fitting_rows(entry, model.network, source.tensors)
        if row.layout == layout
    }
    others = [f"{entry.name}.{tag}" for tag, other in rows.items() if other != data]
    if not others:
        return text
    return f"{text}; of the published weights only {', '.join(others)} expect another; name the tag for a file of theirs"
