"""Evaluate a model on labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ArgumentError
from ..nn import check_device
from ._batches import Batches, ShardedLoader, check_batch, check_loader
from ._distributed import DistributedContext
from ._metrics import EpochMetrics, compute_metrics
from ._result import Result


def evaluate(model: nn.Module, loader: Batches, *, device: str | torch.device | None = None) -> Result:
    """Return the model's result on (images, targets) batches; its mode is as it was after the call.

    The images go to the model's device, or to `device` together with the model. Of several processes each evaluates all.

    Raises:
        ArgumentError: the model is no module, `device` is none, the loader is empty, or a target is no class of the model.
    """
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ArgumentError(
            f"model of type {type(model).__name__} must be a module with parameters, as create_model makes them"
        )
    check_loader("loader", loader)
    place = check_device(device)
    if place is not None:
        model.to(place)
    return evaluate_shards(model, ShardedLoader(loader, DistributedContext()))


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Have the model in evaluation mode, without gradients; the mode of each of its parts is as it was after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes:  # a module before its parts
            if module.training is not mode:
                module.train(mode)


def evaluate_shards(model: nn.Module, share: ShardedLoader) -> Result:
    """Return the model's result on every rank's part."""
    like, seen = next(model.parameters()), EpochMetrics()
    with evaluation_mode(model):
        for part in share:
            logits = model(part.images.to(like.device, like.dtype))
            check_batch(part.images, part.targets, logits.shape[1])
            seen.add(logits, part.targets, part.indices)
    if not seen.targets:
        raise ArgumentError("evaluate: the loader gave no batch; check the data set and its filters")
    return _result(*seen.all(share.ranks), model)


def _result(logits: Tensor, targets: Tensor, model: nn.Module) -> Result:
    names: tuple[str, ...] | None = getattr(model, "class_names", None)
    loss = float(F.cross_entropy(logits, targets))
    names = names or tuple(map(str, range(logits.shape[1])))
    return Result(logits.softmax(1), targets, loss, **compute_metrics(logits, targets), class_names=names)
