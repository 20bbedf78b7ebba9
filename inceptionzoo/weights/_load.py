"""Load weights into a model: recognise their layout, check every tensor, and only then change the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, MismatchError, check_flag, name_type
from ..nn import FeatureNet, Net, Report
from ._adaptation import adapt_tensor, as_dense, unflatten
from ._arguments import check_arguments
from ._assign import assign_values, check_made, check_tied
from ._layout import LayoutMatch, is_batch_counter, is_classifier
from ._published import recognise_published
from ._report import describe_assumption, describe_differences
from ._select import Model, select_weights
from ._source import WeightSource, read_weights
from ._validation import check_settable, find_invalid_values


def load_weights(
    model: nn.Module, source: str | os.PathLike[str] | Mapping[str, Any] | WeightSource, *, new_head: bool = False
) -> Report:
    """Load weights into a model, completely or not at all, and return a report of what was done.

    `model` is a `Net`, a `FeatureNet`, or a module of another library that contains one of them. `source` is the path of a
    .safetensors, .pth, .keras or .h5 file, a state dict, a Hub repository ("hf-hub:OWNER/NAME@REVISION") or a local copy of one
    ("local-dir:PATH").

    The tensors of the model are recognised by the ends of their names, in any mapping inside the checkpoint and after any
    prefix. The names may be this library's, or those of another library that the model's registry entry lists. All names after
    the prefix must be the model's, except those of auxiliary heads. A `FeatureNet` also drops the head and the stages that it
    lacks, and a model without classes drops the classifier. The report names what was dropped and what was left over.

    Weights with a head of another size, or with none, are refused, unless `new_head` is True: the model then keeps its own
    head. After an error the model is unchanged. The model keeps its preprocessing, `model.data`; the report says how it differs
    from that of the weights.

    Raises:
        ArgumentError: `model` contains no model of `create_model`, or several; no values can be copied into one of its tensors
            (of `fully_shard`, or quantized); or `source` is none of these.
        FileError: the file cannot be read as weights.
        DownloadError: the repository cannot be downloaded.
        MismatchError: names, shapes or values do not fit, the checkpoint holds two sets of weights that fit, or it has several
            values for a tensor that the model has under several names.
    """
    check_flag("new_head", new_head)
    target, weights = _find_model(model), read_weights(source)
    if target.origin is not None and not target.fused:
        _, weights = recognise_published(target.origin.entry, target.network, weights)
    return load_source(target, weights, new_head=new_head)


def _find_model(model: object) -> Net | FeatureNet:
    """Return the model, or the one that a module of another library contains.

    Raises:
        ArgumentError: there is none, or there are several.
    """
    modules = model.named_modules() if isinstance(model, nn.Module) else ()
    found = {path: module for path, module in modules if isinstance(module, Net | FeatureNet)}
    if not found:
        kinds = "a model of create_model, or a module that contains one"
        raise ArgumentError(f"model is {name_type(model)}; load_weights takes {kinds}")
    if len(found) > 1:
        paths = ", ".join(map(repr, found))
        raise ArgumentError(f"model is {name_type(model)} that contains several models: {paths}; pass one of them")
    return next(iter(found.values()))


def load_source(model: Net | FeatureNet, source: WeightSource, *, new_head: bool = False) -> Report:
    """Load the result of `read_weights` into a model; see `load_weights`."""
    _check_same_model(model, source)
    state = model.state_dict()
    check_settable(state)
    source, match = select_weights(names_of(model, new_head=new_head), source)
    check_arguments(model, match.rules, source.name)
    report, values = _prepare_values(match, state, source, new_head=new_head)
    report.taken, report.published, report.left_over = source.selected, source.published, list(source.left_over)
    if match.rules.has_other_layers:  # the rest of the file is a head of the user's own
        report.dropped, report.left_over = [*report.dropped, *report.left_over], []
    report.differs = describe_differences(model, source)
    if source.metadata is None and source.data is None:
        report.preprocessing = describe_assumption(model, report.layout, source)
    check_tied(model, values, source.name)
    check_made(model, [key for key in report.left_random if state[key].is_meta], source.name)
    assign_values(model, values, state, copy=not source.owned)
    model.report = report
    return report


def names_of(model: Net | FeatureNet, *, new_head: bool = False) -> Model:
    """Return the names that `select_weights` looks for."""
    return Model(tuple(model.state_dict()), model.layouts, model.removed, new_head)


def _check_same_model(model: Net | FeatureNet, source: WeightSource) -> None:
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
            "then fuse it; save_weights and load_model save and load a fused one"
        )


def _prepare_values(
    match: LayoutMatch, state: Mapping[str, Tensor], source: WeightSource, *, new_head: bool
) -> tuple[Report, dict[str, Tensor]]:
    """Return the report, and the checked values by the model's keys. The model is not changed.

    Raises:
        MismatchError: a tensor does not fit, or a value is invalid; the message shows the first three.
    """
    report, values, faults = Report(match.layout, dropped=[*match.dropped, *source.outside]), dict[str, Tensor](), list[str]()
    # only weights for 3 input channels are adapted; metadata with another number would contradict the file's tensors
    adaptable = source.metadata is None or source.metadata.in_chans == 3
    input_key = next(iter(state)) if adaptable else None
    has_head = any(match.table[key] in source.tensors for key in state if key.startswith("head."))
    flattened = dict(match.rules.flattened)
    other_heads = _other_heads(match, state, source) if new_head else set()
    for key, target in state.items():
        name = match.table[key]
        value = source.tensors.get(name)
        if value is not None and is_classifier(key):
            value = as_dense(value)
        if value is None and is_batch_counter(key) and (has_head or not key.startswith("head.")):
            values[key] = torch.zeros_like(target, device="cpu")
            report.adapted[key] = "absent, set to 0"
        elif value is None or key.rpartition(".")[0] in other_heads:
            report.replaced.append(key)
            report.left_random.append(key)
        else:
            try:
                _refuse_other_head(key, name, value, target)
                value = unflatten(value, flattened[key]) if key in flattened else value
                values[key], change = adapt_tensor(key, name, value, target, is_input=key == input_key)
            except MismatchError as error:
                faults.append(str(error))
                continue
            report.adapted |= {key: change} if change else {}
            report.renamed |= {name: key} if name != key else {}
    _refuse_faults(faults or find_invalid_values(values), source.name)
    return report, values


def _other_heads(match: LayoutMatch, state: Mapping[str, Tensor], source: WeightSource) -> set[str]:
    """Return the model's classifiers of which the source lacks a tensor, or has one of another shape: "head.fc", ..."""
    found = {key: source.tensors.get(match.table[key]) for key in state if is_classifier(key)}
    return {
        key.rpartition(".")[0]
        for key, value in found.items()
        if value is None or _is_other_head(key, as_dense(value), state[key])
    }


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
