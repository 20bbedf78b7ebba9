"""Save a model as one .safetensors file with metadata that describes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import ArgumentError, check_path
from ..nn import Net, private_torch, require_net, warn_of_hooks
from ._metadata import describe_model
from ._safetensors import write_safetensors
from ._safetensors_header import MARKER
from ._validation import checked_state


def save_weights(
    model: Net,
    path: str | os.PathLike[str],
    *,
    class_names: list[str] | tuple[str, ...] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Write the model to one .safetensors file, atomically. `load_model` needs only this file to rebuild the model.

    The header holds the architecture, its arguments, the preprocessing, `class_names` (by default the model's own),
    `metrics`, and a digest of every byte. A network of your own is written too, as data. Only a network with an `Op`, or with
    a callable in its `Style`, must be registered before the file is loaded. The safetensors package can read the file too.

    Raises:
        ArgumentError: the model is not a `Net`, its network contains code and has no name, it has changed since it was built
            (for example, a module is replaced or pruned), it is on the meta device, or a value is not finite; `path` does not
            end in .safetensors; or a class name or metric is invalid.
        FileError: a tensor has a dtype that the format lacks.
        OSError: the write fails; an old file at `path` is unchanged.

    Warns:
        UserWarning: hooks are registered on the model; they are not saved.
    """
    model = require_net(private_torch.uncompiled(model), "save_weights")
    target, metadata = check_safetensors_path(path), describe_model(model, class_names=class_names, metrics=metrics)
    state = checked_state(model)
    warn_of_hooks(model, stacklevel=2)
    write_safetensors(target, state, {"format": "pt", MARKER: metadata.to_json()})


def check_safetensors_path(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path`. Check that it ends in .safetensors, the only format with a description of the model."""
    target = check_path("path", path)
    if target.suffix != ".safetensors":
        raise ArgumentError(
            f"path={str(path)!r} must end in .safetensors, the format that is written; export_weights writes .pth files for "
            "other libraries"
        )
    return target
