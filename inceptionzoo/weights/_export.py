"""Write weights under another library's tensor names."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from ..errors import ArgumentError, FileError, check_choice, check_path
from ..nn import Net, check_unchanged, require_net, warn_of_hooks
from ._atomic import atomic_write
from ._safetensors import write_safetensors
from ._source import PICKLES
from ._validation import checked_state


def export_weights(model: Net, path: str | os.PathLike[str], *, layout: str) -> None:
    """Write the weights under the tensor names of another library, which then loads them with `strict=True`.

    `layout` names that library: "torchvision", "timm", ... The path's ending selects the format: .safetensors, or .pth, .pt,
    .ckpt or .tar for `torch.load`. The write is atomic. Auxiliary heads are written if the model has them (`with_aux`).

    Raises:
        ArgumentError: the model's entry has no such layout, or the model is on the meta device, is fused, or has changed since
            it was built.
        FileError: the path has another ending.
        OSError: the write fails; an old file at `path` is unchanged.

    Warns:
        UserWarning: hooks are registered on the model; they are not written.
    """
    path = check_path("path", path)
    tensors = exported_state_dict(model, layout)
    warn_of_hooks(model, stacklevel=2)
    if path.suffix == ".safetensors":
        write_safetensors(path, tensors, {"format": "pt"})
    elif path.suffix in PICKLES:
        with atomic_write(path) as stream:
            torch.save(tensors, stream)
    else:
        raise FileError(f"{path} must end in .safetensors or in one of {', '.join(PICKLES)}; the ending selects the format")


def exported_state_dict(model: Net, layout: str) -> dict[str, Tensor]:
    """Return copies of the model's tensors with another library's names and shapes.

    Raises:
        ArgumentError: see `export_weights`.
    """
    require_net(model, "export_weights")
    if model.fused:
        raise ArgumentError("the model is fused, and no other library has such a layout; export the model it was made from")
    layouts = {item.name: item for item in (model.entry.layouts if model.entry else ())}
    if not layouts:
        raise ArgumentError("no other library has a layout for this model; use save_weights")
    check_choice("layout", layout, layouts)
    check_unchanged(model, "the model cannot be exported")
    state, shapes = checked_state(model), dict(layouts[layout].shapes)
    copies = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    return {name: copies[key].reshape(shapes.get(key, copies[key].shape)) for key, name in layouts[layout].table(state).items()}
