"""What a training was asked for, as plain values: the same call gives the same in every process."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..evaluation import Batches, length_or_none
from ..nn import Net
from ._state import generators


def model_fingerprint(model: Net) -> list[Any]:
    """Return what tells a model from another, as plain values."""
    name = model.entry.name if model.entry else None
    head = [model.num_classes, model.in_chans, model.global_pool, model.head.drop.p, sorted(model.aux)]
    return [name, repr(sorted(model.arguments.items())), head, model.data.to_json()]


def loader_fingerprint(train: Batches | None) -> list[int | None]:
    """Return how many batches and images there are, where that is known, and random generators of the loader's own."""
    images = getattr(train, "dataset", None)
    counts = [length_or_none(train), length_or_none(images)]
    return [*counts, len(generators(() if train is None else train))]


def optimizer_fingerprint(part: Optimizer | LRScheduler | None) -> str | None:
    """Return what an optimizer or a schedule of the caller's own starts with."""
    if part is None:
        return None
    state = part.state_dict()
    groups = [{key: value for key, value in group.items() if key != "params"} for group in state.get("param_groups", ())]
    return f"{type(part).__name__} {groups or sorted(state.items())}"


def loss_name(loss: Any) -> str:
    """Return what a loss is called, the same in every process."""
    if isinstance(loss, partial):
        return f"{loss_name(loss.func)} of {loss.args} {sorted(loss.keywords.items())}"
    if isinstance(loss, nn.Module):
        return repr(loss)
    return getattr(loss, "__qualname__", type(loss).__qualname__)
