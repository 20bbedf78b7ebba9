"""Convert weights of other libraries into files of this library."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from ..errors import ArgumentError, WeightsError
from ..nn import Net, Report
from ..weights import WeightSource, check_safetensors_path, read_weights, save_weights
from ..weights.download import is_reference
from ._create import create_model
from ._registry import list_models
from ._restore import build_from_metadata


def convert(
    source: str | os.PathLike[str] | Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    class_names: list[str] | tuple[str, ...] | None = None,
    metrics: Mapping[str, float] | None = None,
    progress: bool | None = None,
    **arguments: Any,
) -> Report:
    """Convert weights to a .safetensors file of this library, written to `path`, and return the load report.

    `source` is a .pth or .safetensors file, a state dict, "hf-hub:OWNER/NAME" or "local-dir:PATH". `architecture` is the
    model's name in this library. It is needed only if the source does not name the model. `class_names` and `metrics` are
    stored in the new file; the default is what a file of this library says. `arguments` are passed to `create_model`.
    `progress` shows or hides the progress bar; by default it is shown on a terminal.

    Raises:
        ArgumentError: `path` does not end in .safetensors. Or the source does not name its model and `architecture` is missing;
            the message lists the models that match. Or `architecture` is not the model of the repository.
        WeightsError: as `create_model`.
        OSError: the file cannot be written.
    """
    check_safetensors_path(path)
    with tqdm(total=3, desc="read", disable=None if progress is None else not progress, leave=False) as bar:
        model, saved_metrics = _load(source, architecture, arguments)
        bar.update(2)
        bar.set_description("write")
        metrics = saved_metrics if metrics is None else metrics
        save_weights(model, path, class_names=class_names, metrics=metrics)
        bar.update()
    assert model.report is not None  # weights were loaded
    return model.report


def _load(
    source: str | os.PathLike[str] | Mapping[str, Any], architecture: str | None, arguments: Mapping[str, Any]
) -> tuple[Net, Mapping[str, float]]:
    """Return the model of a source, and the metrics that the source states for it."""
    weights = read_weights(source)
    metadata = None if arguments else weights.metadata  # with arguments, the model is another than the file describes
    metrics = metadata.metrics if metadata else {}
    if is_reference(source):
        model = build_from_metadata(weights) if metadata else create_model(str(source), **arguments)
        name = model.entry.name if model.entry else "a network without a name"
        if architecture not in (None, name):
            raise ArgumentError(f"architecture={architecture!r}: {source} holds {name!r}; leave out architecture")
        return model, metrics
    if metadata and architecture in (None, metadata.architecture):
        return build_from_metadata(weights), metrics
    return create_model(architecture or _architecture(weights), weights=weights, **arguments), {}


def _architecture(weights: WeightSource) -> str:
    """Return the architecture that the file's metadata names.

    Raises:
        ArgumentError: the metadata names none. The message lists the models whose tensors match.
    """
    if weights.metadata is not None:
        return weights.metadata.architecture
    matching = [name for name in list_models() if _matches(name, weights)]
    hint = f"its tensors fit {', '.join(matching)}" if matching else "its tensors fit none of list_models()"
    raise ArgumentError(f"{weights.name} does not say which model it holds: pass architecture=NAME; {hint}")


def _matches(name: str, weights: WeightSource) -> bool:
    """Return whether the tensors load into a model with any number of classes and of input channels."""
    try:
        create_model(name, weights=weights, device="meta")
    except WeightsError:
        return False
    return True
