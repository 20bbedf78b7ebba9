"""The bridge into timm's registry: `timm.create_model("izoo_googlenet")`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ..weights import PREFIX
from ..zoo import REGISTRY


def register() -> list[str]:
    """Make every model of this library one of timm's, and return the names that are new there.

    A model is called "izoo_NAME", and NAME too where timm has no model of that name. What timm has is never replaced;
    another call adds the models that were registered since. All of `timm.create_model` works: `pretrained` and tags,
    `features_only` with `out_indices`, `num_classes`, `in_chans`, `checkpoint_path`, "hf-hub:" and "local-dir:"; the
    keyword arguments of `inceptionzoo.create_model` too. The models are this library's own: `fit`, `fuse` and
    `save_weights` take them.

    Warns:
        UserWarning: somebody else's model has a name "izoo_NAME" in timm; it stays.
    """
    from timm.models import is_model, model_entrypoint

    from ._timm_entries import register_as

    new = []
    for name, entry in REGISTRY.items():
        own = f"{PREFIX}{name}"
        if is_model(own) and not is_bridged(model_entrypoint(own)):
            warnings.warn(f"timm has a model {own!r} that is not this library's; it stays as it is", stacklevel=2)
        if free := [theirs for theirs in (own, name) if not is_model(theirs)]:
            register_as(free, entry)
            new += free
    return new


def is_bridged(entry_point: Callable[..., Any]) -> bool:
    """Return whether an entry point of timm's registry is one that `register` put there."""
    return entry_point.__module__ == f"{__package__}._timm_entries"
