"""Write weights under another library's tensor names."""

from __future__ import annotations

import os
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import ArgumentError, FileError, MismatchError, check_choice, check_path
from ..nn import Net, check_unchanged, private_torch, require_net, warn_of_hooks
from ..spec import KerasLayout, Layout, first_difference, make_network
from ._adaptation import flatten_channels_last
from ._arguments import check_arguments
from ._atomic import atomic_write
from ._keras_writer import fold_scales, write_keras
from ._layout import is_batch_counter
from ._safetensors import write_safetensors
from ._source import PICKLES
from ._validation import checked_state

MAY_DIFFER = "drop_path_rate", "eps"  # arguments: no output depends on the first, and packages of one layout differ in eps


def export_weights(model: Net, path: str | os.PathLike[str], *, layout: str) -> None:
    """Write the weights under the tensor names of another library, which then loads them with `strict=True`.

    `layout` names that library: "torchvision", "timm", ... The path's ending selects the format: .safetensors, or .pth, .pt,
    .ckpt, .tar or .bin for `torch.load`; for the layout "keras" .h5, which `Model.load_weights` of Keras reads. The write is
    atomic.
    Auxiliary heads are written if the model has them (`with_aux`). Keras's Inception networks have no scale in batch
    normalisation; it is multiplied into the convolution before it, so that outputs are equal up to rounding.

    Raises:
        ArgumentError: the model's entry has no such layout, or the model is on the meta device, is fused, or has changed since
            it was built; or the layout is Keras's, and h5py is not installed or the model has auxiliary heads.
        MismatchError: the model is not the other library's network, which has other arguments, layers or global pooling.
        FileError: the path has an ending that the layout does not take.
        OSError: the write fails; an old file at `path` is unchanged.

    Warns:
        UserWarning: hooks are registered on the model; they are not written.
    """
    model, path = require_net(private_torch.uncompiled(model), "export_weights"), check_path("path", path)
    rules = _find_layout(model, layout)
    if path.suffix not in (endings := _endings(rules)):
        ways = ", ".join(endings)
        raise FileError(f"{path} must end in one of {ways} for layout={layout!r}; the ending selects the format")
    tensors = exported_state_dict(model, layout)
    warn_of_hooks(model, stacklevel=2)
    if isinstance(rules, KerasLayout):
        write_keras(path, tensors, rules)
    elif path.suffix == ".safetensors":
        write_safetensors(path, tensors, {"format": "pt"})
    else:
        with atomic_write(path) as stream:
            torch.save(tensors, stream)


def exported_state_dict(model: Net, layout: str) -> dict[str, Tensor]:
    """Return copies of the model's tensors with another library's names and shapes; Keras's in torch's order of dimensions.

    Raises:
        ArgumentError: see `export_weights`.
        MismatchError: see `export_weights`.
    """
    model = require_net(private_torch.uncompiled(model), "export_weights")
    rules = _find_layout(model, layout)
    check_unchanged(model, "the model cannot be exported")
    check_arguments(model, rules, "the model cannot be exported")
    _check_network(model, rules)
    state, shapes, flattened = checked_state(model), dict(rules.shapes), dict(rules.flattened)
    copies = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    copies |= {key: flatten_channels_last(copies[key], shape) for key, shape in flattened.items() if key in copies}
    if isinstance(rules, KerasLayout):
        if model.aux:
            raise ArgumentError("Keras's network has no auxiliary heads; export a model without them")
        copies = {key: _widened(value) for key, value in copies.items() if not is_batch_counter(key)}
        copies = copies if rules.scale else fold_scales(copies)
    return {name: copies[key].reshape(shapes.get(key, copies[key].shape)) for key, name in rules.table(copies).items()}


def _widened(value: Tensor) -> Tensor:
    """Return a half-precision tensor in float32: NumPy has no bfloat16, and folding a scale would round in float16."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def _find_layout(model: Net, name: str) -> Layout:
    """Return the layout of this name.

    Raises:
        ArgumentError: the model has none, or is fused.
    """
    if model.fused:
        raise ArgumentError("the model is fused, and no other library has such a layout; export the model it was made from")
    layouts = {layout.name: layout for layout in (model.entry.layouts if model.entry else ()) if layout.can_be_written}
    if not layouts:
        raise ArgumentError("no other library has a layout for this model; use save_weights")
    check_choice("layout", name, layouts)
    return layouts[name]


def _check_network(model: Net, layout: Layout) -> None:
    """Check that the model computes the feature map of the layout's library, and pools it as that does.

    Raises:
        MismatchError: it is not; the message says where it differs.
    """
    assert model.entry is not None  # `_find_layout` has found a layout of it
    kept = {key: value for key, value in model.arguments.items() if key in MAY_DIFFER}
    theirs = make_network(model.entry, kept | dict(layout.arguments))
    problem = f"the model cannot be exported: it is not the network of the layout {layout.name!r}"
    if difference := first_difference(replace(theirs, head=model.network.head), model.network):
        raise MismatchError(f"{problem}; {difference}, theirs first; use save_weights")
    found, wanted = len(model.network.head.hidden), len(theirs.head.hidden)  # their widths may differ
    # files without a head exist, and Keras loads by name
    may_differ = isinstance(layout, KerasLayout) or next(model.head.parameters(), None) is None
    if found != wanted and not may_differ:
        raise MismatchError(f"{problem}, whose head has {wanted} hidden layers, not {found}; use save_weights")
    if model.global_pool not in ("avg", "") and layout.name != "timm":  # timm takes the argument too
        raise MismatchError(f"{problem}, which has global_pool='avg', not {model.global_pool!r}; use save_weights")


def _endings(layout: Layout) -> tuple[str, ...]:
    return (".h5",) if isinstance(layout, KerasLayout) else (".safetensors", *PICKLES)
