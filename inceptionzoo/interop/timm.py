"""Register the models of this library in timm: `timm.create_model("izoo_googlenet")`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ..weights import PREFIX
from ..zoo import REGISTRY, SAME_SUFFIX


def register() -> list[str]:
    """Register every model for images in timm, and return the names that were added.

    A model is registered as "izoo_NAME", and also as "NAME" if timm has no model of this name. Models of timm are never
    replaced. If the maps of a model are smaller than its reductions say, "izoo_NAME_same" is the model with `padding="same"`,
    for decoders that need exact sizes. Call `register` again after `register_model` to add new models.

    `timm.create_model` then works as usual, with `pretrained` and tags, `features_only` and `out_indices`, `num_classes`,
    `in_chans`, `checkpoint_path`, "hf-hub:" and "local-dir:". It also takes the keyword arguments of
    `inceptionzoo.create_model`. Without `features_only` it returns a `Net` of this library, for `fit`, `fuse`
    and `save_weights`.

    Warns:
        UserWarning: timm has a model "izoo_NAME" from another library. It is kept.
    """
    from timm.models import is_model, model_entrypoint

    from ._timm_entries.izoo import SAME, needs_same_padding, register_as

    added = []
    entries = {name: entry for name, entry in REGISTRY.items() if len(entry.data.size) == 2}
    for name, entry in entries.items():
        prefixed = f"{PREFIX}{name}"
        if is_model(prefixed) and not is_bridged(model_entrypoint(prefixed)):
            warnings.warn(f"timm has a model {prefixed!r} that is not this library's; it is kept", stacklevel=2)
        if free_names := [candidate for candidate in (prefixed, name) if not is_model(candidate)]:
            register_as(free_names, entry, {})
            added += free_names
    for name, entry in entries.items():
        padded = f"{PREFIX}{name}{SAME_SUFFIX}"
        if not is_model(padded) and needs_same_padding(entry):
            register_as([padded], entry, SAME)
            added.append(padded)
    return added


def is_bridged(entry_point: Callable[..., Any]) -> bool:
    """Return whether `register` added this entry point to timm's registry."""
    return entry_point.__module__ == f"{__package__}._timm_entries.izoo"
