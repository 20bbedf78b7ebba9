"""JSON values that tell models, loaders, optimizers and losses apart; they are the same in every process."""

from __future__ import annotations

import hashlib
import json
import re
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..errors import SpecError
from ..evaluation import Batches, find_class_names, is_loss_of_torch, length_or_none
from ..nn import Net
from ..spec import Network, network_to_json
from ._generators import loader_generators
from ._schedule import Scheduler


def model_fingerprint(model: Net) -> list[Any]:
    """Return the name, arguments, head and data settings of a model; not its weights. The name can be a network's digest."""
    name = model.entry.name if model.entry else network_digest(model.network)
    head = [model.num_classes, model.in_chans, model.global_pool, model.drop_rate, sorted(model.aux)]
    return [name, repr(sorted(model.arguments.items())), head, model.data.to_json()]


def network_digest(network: Network) -> str | None:
    """Return the SHA-256 digest of a network's data; None if the network contains code, which has no digest."""
    try:
        return hashlib.sha256(json.dumps(network_to_json(network), sort_keys=True).encode()).hexdigest()
    except SpecError:
        return None


def loader_fingerprint(loader: Batches | None) -> list[int | None]:
    """Return the numbers of batches, of images (each None if unknown) and of random generators of a loader."""
    lengths = [length_or_none(loader), length_or_none(getattr(loader, "dataset", None))]
    return [*lengths, len(loader_generators(() if loader is None else loader))]


def optimizer_fingerprint(optimizer: Optimizer | Scheduler | str | None) -> str | None:
    """Return the class and the settings of an optimizer or a scheduler, or its name; None for the default."""
    if optimizer is None or isinstance(optimizer, str):
        return None if optimizer == "sgd" else optimizer
    state = optimizer.state_dict()
    groups = [{key: value for key, value in group.items() if key != "params"} for group in state.get("param_groups", ())]
    return f"{type(optimizer).__name__} {groups or sorted(state.items())}"


def added_fingerprint(model: Net, train: Batches, loss: object) -> dict[str, Any]:
    """Return what files of version 0.1 do not say: class names, data type, what is frozen, the settings of a loss of torch."""
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    in_eval = [name for name, module in model.named_modules() if model.training and not module.training]
    digest = hashlib.sha256(json.dumps([frozen, in_eval]).encode()).hexdigest()[:8]
    parts = f"{len(frozen)} parameters and {len(in_eval)} modules in evaluation mode ({digest})"
    names, dtype = find_class_names(train), next(model.parameters()).dtype
    return {
        **({} if names is None else {"classes": list(names)}),
        **({} if dtype is torch.float32 else {"dtype": str(dtype)}),
        **({"frozen": parts} if frozen or in_eval else {}),
        **({} if (settings := loss_settings(loss)) is None else {"loss_settings": settings}),
    }


def loss_settings(loss: object) -> dict[str, Any] | None:
    """Return the settings of a loss of torch, with its weights; None for any other function. `repr` leaves them out."""
    if not isinstance(loss, nn.Module) or not is_loss_of_torch(loss):
        return None
    settings = {name: value for name, value in vars(loss).items() if name[0] != "_" and name != "training"}
    return settings | {name: buffer.tolist() for name, buffer in loss.named_buffers()}


def loss_name(loss: Any) -> str:
    """Return the name of a loss, with its settings if it is a module or a partial; without memory addresses."""
    if isinstance(loss, partial):
        text = f"{loss_name(loss.func)} of {loss.args} {sorted(loss.keywords.items())}"
        return re.sub(" at 0x[0-9a-fA-F]+", "", text)
    if isinstance(loss, nn.Module):
        return repr(loss)
    return getattr(loss, "__qualname__", type(loss).__qualname__)
