"""Load weights into a model: recognise their layout, check every tensor, and only then change the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError, MismatchError, check_flag
from ..nn import Net, Report
from ..spec import DataConfig, first_difference
from ._adaptation import adapt_tensor
from ._layout import LayoutMatch, is_batch_counter, is_classifier, match_layout
from ._metadata import ModelMetadata, model_arguments
from ._source import WeightSource, read_weights
from ._validation import find_invalid_values


def load_weights(model: Net, source: str | os.PathLike[str] | Mapping[str, Any], *, new_head: bool = False) -> Report:
    """Load weights into a model, completely or not at all, and return a report of what was done.

    `source` is the path of a .safetensors or .pth file, a state dict, a Hub repository ("hf-hub:OWNER/NAME@REVISION") or a
    local copy of one ("local-dir:PATH"). Its tensor names may be this library's, or those of another library that the
    model's registry entry lists. Weights with a head of another size are refused, unless `new_head` is True: the model then
    keeps its own head. After an error the model is unchanged.

    Raises:
        ArgumentError: `model` is not from `create_model`, or `source` is none of these.
        FileError: the file cannot be read as weights.
        DownloadError: the repository cannot be downloaded.
        MismatchError: names, shapes or values do not fit.
    """
    check_flag("new_head", new_head)
    if not isinstance(model, Net):
        raise ArgumentError(f"model is a {type(model).__name__}; load_weights takes a model of create_model")
    return load_source(model, read_weights(source), new_head=new_head)


def load_source(model: Net, source: WeightSource, *, new_head: bool = False) -> Report:
    """Load the result of `read_weights` into a model; see `load_weights`."""
    _check_same_model(model, source)
    state = model.state_dict()
    layouts = model.entry.layouts if model.entry else ()
    optional = is_classifier if new_head else None
    match = match_layout(state, source.tensors, layouts, source.name, optional=optional)
    report, values = _prepare_values(match, state, source, new_head=new_head)
    report.taken = source.selected
    report.differs = {} if source.metadata is None else _describe_differences(model, source.metadata)
    _assign_values(model, values, state, copy=not source.owned)
    model.report = report
    return report


def _check_same_model(model: Net, source: WeightSource) -> None:
    """Check that a file's metadata, if it has any, names this architecture or none, and that both or neither are fused."""
    name = model.entry.name if model.entry else None
    if source.metadata is not None and name is not None and source.metadata.architecture not in ("", name):
        raise MismatchError(
            f"{source.name} holds {source.metadata.architecture!r}, the model is {name!r}; use load_model(path), or "
            f"create_model({source.metadata.architecture!r}, weights=path)"
        )
    if model.fused != (source.metadata is not None and source.metadata.fused):
        raise MismatchError(
            f"{source.name}: either it or the model is fused, but not both; load unfused weights into an unfused model, "
            "then fuse it"
        )


def _describe_differences(model: Net, metadata: ModelMetadata) -> dict[str, str]:
    """Return {name: description} of each argument and preprocessing setting in which a model differs from the saved one.

    Networks whose arguments agree are compared too, at the first place where they differ.
    """
    ours, theirs = dict(model.arguments), model_arguments(metadata)
    pairs = {key: (theirs.get(key), ours.get(key)) for key in sorted({*ours, *theirs})}
    saved = DataConfig.from_json(metadata.data)
    pairs |= {f"data.{item.name}": (getattr(saved, item.name), getattr(model.data, item.name)) for item in fields(saved)}
    pairs |= {"global_pool": (metadata.global_pool, model.global_pool)}
    if model.class_names is not None and metadata.class_names:
        pairs |= {"class_names": (list(metadata.class_names), list(model.class_names))}
    differences = {key: f"saved with {old!r}, here {value!r}" for key, (old, value) in pairs.items() if old != value}
    if metadata.network is not None and ours == theirs and metadata.network != model.network:
        differences["network"] = f"{first_difference(metadata.network, model.network)}, the saved value first"
    return differences


def _prepare_values(
    match: LayoutMatch, state: Mapping[str, Tensor], source: WeightSource, *, new_head: bool
) -> tuple[Report, dict[str, Tensor]]:
    """Return the report, and the checked values by the model's keys. The model is not changed.

    Raises:
        MismatchError: a tensor does not fit, or a value is invalid; the message shows the first three.
    """
    report, values, faults = Report(match.layout, dropped=match.dropped), dict[str, Tensor](), list[str]()
    # only weights for 3 input channels are adapted; metadata with another number would contradict the file's tensors
    adaptable = source.metadata is None or source.metadata.in_chans == 3
    input_key = next(iter(state)) if adaptable else None
    for key, target in state.items():
        name = match.table[key]
        value = source.tensors.get(name)
        if value is None and is_batch_counter(key):
            values[key] = torch.zeros_like(target, device="cpu")
            report.adapted[key] = "absent, set to 0"
        elif value is None or (new_head and _is_other_head(key, value, target)):
            report.replaced.append(key)
            report.left_random.append(key)
        else:
            try:
                _refuse_other_head(key, name, value, target)
                values[key], change = adapt_tensor(key, name, value, target, is_input=key == input_key)
            except MismatchError as error:
                faults.append(str(error))
                continue
            report.adapted |= {key: change} if change else {}
            report.renamed |= {name: key} if name != key else {}
    _refuse_faults(faults or find_invalid_values(values), source.name)
    return report, values


def _is_other_head(key: str, value: Tensor, target: Tensor) -> bool:
    return is_classifier(key) and value.shape != target.shape


def _refuse_other_head(key: str, name: str, value: Tensor, target: Tensor) -> None:
    if _is_other_head(key, value, target):
        raise MismatchError(
            f"{name}: the head's {tuple(value.shape)} must be the model's {tuple(target.shape)}; pass new_head=True to "
            "keep the model's own, or create_model(..., weights=FILE, num_classes=N)"
        )


def _refuse_faults(faults: list[str], source_name: str) -> None:
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        remedy = "use weights of this model, made with the same arguments"
        raise MismatchError(f"{source_name} does not fit: {'; '.join(faults[:3])}{more}; {remedy}")


def _assign_values(model: Net, values: Mapping[str, Tensor], state: Mapping[str, Tensor], *, copy: bool) -> None:
    """Copy checked values into the model; on the meta device, make them the model's tensors (copies of them with `copy`)."""
    if any(tensor.is_meta for tensor in state.values()):
        copies = {key: value.clone(memory_format=torch.contiguous_format) for key, value in values.items()} if copy else values
        model.load_state_dict(dict(copies), strict=False, assign=True)
        if len(values) < len(state):  # the head that the model keeps has no values yet
            model.reset_classifier(model.num_classes)
    else:
        model.load_state_dict(dict(values), strict=False)
