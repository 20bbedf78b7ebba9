"""Write weights under another library's names."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from ..errors import ArgumentError, FileError, check_choice, check_path
from ..nn import Net
from ._atomic import atomic_write
from ._safetensors import write_safetensors
from ._source import PICKLES
from ._validation import check_materialized


def export_weights(model: Net, path: str | os.PathLike[str], *, layout: str) -> None:
    """Write the model's weights so that another library loads them strictly: `layout` names whose, "torchvision" or "timm".

    A path that ends in .safetensors becomes one, .pth or .pt a file for `torch.load`; either appears whole or not at all.
    Auxiliary heads stand in it where the model has them (`with_aux`).

    Raises:
        ArgumentError: the model's entry knows no such layout, or the model holds no weights yet (meta).
        FileError: the path ends in neither.
        OSError: the disk refuses; an old file at `path` is as it was.
    """
    path = check_path("path", path)
    tensors = exported_state_dict(model, layout)
    if path.suffix == ".safetensors":
        write_safetensors(path, tensors, {"format": "pt"})
    elif path.suffix in PICKLES:
        with atomic_write(path) as stream:
            torch.save(tensors, stream)
    else:
        raise FileError(f"{path} must end in .safetensors or in one of {', '.join(PICKLES)}; its ending says what is written")


def exported_state_dict(model: Net, layout: str) -> dict[str, Tensor]:
    """Return the model's tensors by another library's names, in that one's shapes; none shares memory with the model's.

    Raises:
        ArgumentError: see `export_weights`.
    """
    if not isinstance(model, Net):
        raise ArgumentError(f"model is a {type(model).__name__}; export_weights takes a model of create_model")
    if model.fused:
        raise ArgumentError("the model is fused, which no other library's layout knows; export the one it was made from")
    known = {item.name: item for item in (model.entry.layouts if model.entry else ())}
    if not known:
        raise ArgumentError("no other library has a layout for this model; use save_weights")
    check_choice("layout", layout, known)
    state, shapes = model.state_dict(), dict(known[layout].shapes)
    check_materialized(state)
    plain = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    return {theirs: plain[key].reshape(shapes.get(key, plain[key].shape)) for key, theirs in known[layout].table(state).items()}
