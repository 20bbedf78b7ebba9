"""Load weights into a model: recognise their layout, check everything, and only then change the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError, MismatchError, check_flag
from ..nn import Net, Report
from ..spec import DataConfig
from ._layout import LayoutMatch, is_classifier, is_counter, match_layout
from ._metadata import ModelMetadata, model_arguments
from ._source import WeightSource, read_weights
from ._validation import adapt_tensor, find_invalid_values


def load_weights(model: Net, source: str | os.PathLike[str] | Mapping[str, Any], *, new_head: bool = False) -> Report:
    """Load a .safetensors or .pth file, a Hub repository, or a state dict, and return what was done: all of it or nothing.

    A repository is "hf-hub:OWNER/NAME@REVISION", a folder like one "local-dir:PATH".

    The layout is recognised by its names: this library's, or another's that the model's entry knows. A head of another
    size is refused, unless `new_head` lets the model keep the one it has.

    Raises:
        FileError: the file cannot be read as weights.
        MismatchError: names, shapes or values do not fit. The model is unchanged after any error.
    """
    check_flag("new_head", new_head)
    if not isinstance(model, Net):
        raise ArgumentError(f"model is a {type(model).__name__}; load_weights takes a model of create_model")
    return load_source(model, read_weights(source), new_head=new_head)


def load_source(model: Net, source: WeightSource, *, new_head: bool = False) -> Report:
    """Load what `read_source` returned, as `load_weights` does."""
    name = model.entry.name if model.entry else None
    if source.metadata is not None and name is not None and source.metadata.architecture != name:
        raise MismatchError(
            f"{source.name} holds {source.metadata.architecture!r}, the model is {name!r}; use load_model(path), or "
            f"create_model({source.metadata.architecture!r}, weights=path)"
        )
    if model.fused != (source.metadata is not None and source.metadata.fused):
        raise MismatchError(f"{source.name}: either it or the model is fused; load the weights first, and fuse that model")
    state = model.state_dict()
    layouts = model.entry.layouts if model.entry else ()
    optional = is_classifier if new_head else None
    match = match_layout(state, source.tensors, layouts, source.name, optional=optional)
    report, staged = _stage(match, state, source, new_head)
    report.taken, report.differs = source.selected, {} if source.metadata is None else _differences(model, source.metadata)
    _commit(model, staged, state, owned=source.owned)
    model.report = report
    return report


def _differences(model: Net, card: ModelMetadata) -> dict[str, str]:
    """Return what a file says of its model and is not so of this one."""
    ours, theirs = dict(model.arguments), model_arguments(card)
    pairs = {key: (theirs.get(key), ours.get(key)) for key in sorted({*ours, *theirs})}
    pairs |= {f"data.{key}": (DataConfig.from_json(card.data).to_json()[key], own) for key, own in model.data.to_json().items()}
    pairs |= {"global_pool": (card.global_pool, model.global_pool)}
    names = None if card.class_names is None else list(card.class_names)
    pairs |= {"class_names": (names, list(model.class_names))} if model.class_names is not None and names else {}
    return {key: f"saved with {saved!r}, here {own!r}" for key, (saved, own) in pairs.items() if saved != own}


def _stage(
    match: LayoutMatch, state: Mapping[str, Tensor], source: WeightSource, new_head: bool
) -> tuple[Report, dict[str, Tensor]]:
    """Return the report and the checked values, by the model's keys."""
    report = Report(match.layout, dropped=match.dropped)
    staged, faults = {}, []
    colours = source.metadata is None or source.metadata.in_chans == 3  # a file of ours must not contradict itself
    first = next(iter(state)) if colours else None
    for key, target in state.items():
        theirs = match.table[key]
        value = source.tensors.get(theirs)
        if value is None and is_counter(key):
            staged[key] = torch.zeros_like(target, device="cpu")
            report.adapted[key] = "absent, set to 0"
            continue
        if value is None or (is_classifier(key) and value.shape != target.shape):
            if value is None or new_head:  # `recognise` lets a head be absent only where a new one was asked for
                report.replaced.append(key)
                report.left_random.append(key)
                continue
            faults.append(
                f"{theirs}: the head's {tuple(value.shape)} must be the model's {tuple(target.shape)}; pass new_head=True to "
                "keep the model's own, or create_model(..., weights=FILE, num_classes=N)"
            )
            continue
        try:
            staged[key], how = adapt_tensor(key, theirs, value, target, first=key == first)
        except MismatchError as error:
            faults.append(str(error))
            continue
        if how:
            report.adapted[key] = how
        if theirs != key:
            report.renamed[theirs] = key
    faults = faults or find_invalid_values(staged)
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        remedy = "use weights of this model, made with the same arguments"
        raise MismatchError(f"{source.name} does not fit: {'; '.join(faults[:3])}{more}; {remedy}")
    return report, staged


def _commit(model: Net, staged: Mapping[str, Tensor], state: Mapping[str, Tensor], *, owned: bool) -> None:
    """Put checked values into the model: by copy, or in place of tensors that hold none yet (meta)."""
    if any(tensor.is_meta for tensor in state.values()):
        values = {key: value if owned else value.clone(memory_format=torch.contiguous_format) for key, value in staged.items()}
        model.load_state_dict(values, strict=False, assign=True)
        if len(values) < len(state):  # the head that stays has no values yet either
            model.reset_classifier(model.num_classes)
    else:
        model.load_state_dict(dict(staged), strict=False)
