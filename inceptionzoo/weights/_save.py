"""Save a model as one .safetensors file that says what it is."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..errors import ArgumentError, check_path
from ..nn import Net
from ._metadata import describe_model
from ._safetensors import MARKER, write_safetensors
from ._validation import check_materialized


def save_weights(
    model: Net,
    path: str | os.PathLike[str],
    *,
    class_names: list[str] | tuple[str, ...] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Write the model to one .safetensors file, whole or not at all: `load_model` builds it again from that alone.

    The header carries the architecture, its arguments, the preprocessing, the class names (the model's own unless given
    here), any metrics, and a digest of every byte. safetensors' own readers read it as well.

    Raises:
        ArgumentError: the model was not made by `create_model`, holds no weights yet (meta), or the names do not fit.
        OSError: the disk refuses; an old file at `path` is as it was.
    """
    if not isinstance(model, Net):
        raise ArgumentError(f"model is a {type(model).__name__}; save_weights takes a model of create_model")
    state = model.state_dict()
    check_materialized(state)
    target, card = check_path("path", path), describe_model(model, class_names=class_names, metrics=metrics)
    write_safetensors(target, state, {"format": "pt", MARKER: card.to_json()})
