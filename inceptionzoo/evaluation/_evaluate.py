"""Evaluate a model on labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ArgumentError
from ..nn import Net, check_device
from ._batches import Batches, check_batch, check_loader
from ._distributed import DistributedContext
from ._metrics import EpochMetrics, compute_metrics
from ._result import Result
from ._sharding import ShardedLoader


def evaluate(model: nn.Module, loader: Batches, *, device: str | torch.device | None = None) -> Result:
    """Return the result of the model on a loader of (images, targets) batches.

    `loader` is a DataLoader or another iterable of (images (n, c, h, w), targets (n,)). If `device` is given, the model is
    moved there. Images are moved to the model's device and dtype. The model runs in evaluation mode; afterwards the mode of
    each module is restored. Under torchrun, each process evaluates all images.

    Raises:
        ArgumentError: the model is not a module with parameters, the device does not exist, the loader has no batch, or a
            target is not a class of the model.
    """
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ArgumentError(
            f"model of type {type(model).__name__} must be a module with parameters, such as create_model returns"
        )
    check_loader("loader", loader)
    target_device = check_device(device)
    if target_device is not None:
        model.to(target_device)
    return evaluate_shards(model, ShardedLoader(loader, DistributedContext()))


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, without gradients, and restore the mode of every module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes:  # parents come before their children
            if module.training is not mode:
                module.train(mode)


def evaluate_shards(model: nn.Module, loader: ShardedLoader) -> Result:
    """Return the result of the model on the images of all ranks."""
    parameter, metrics = next(model.parameters()), EpochMetrics()
    with evaluation_mode(model):
        for shard in loader:
            logits = model(shard.images.to(parameter.device, parameter.dtype))
            check_batch(shard.images, shard.targets, logits.shape[1])
            metrics.update(logits, shard.targets, shard.indices)
    if not metrics.targets:
        raise ArgumentError("evaluate: the loader gave no batch; check the data set and its filters")
    return _make_result(*metrics.gather(loader.context), model)


def made_up_result(model: Net) -> Result:
    """Return a result of random logits for two images of each class, to try functions of a `Result` on."""
    classes = model.num_classes
    logits = torch.randn(2 * classes, classes, generator=torch.Generator().manual_seed(0))
    return _make_result(logits, torch.arange(2 * classes) % classes, model)


def _make_result(logits: Tensor, targets: Tensor, model: nn.Module) -> Result:
    names: tuple[str, ...] | None = getattr(model, "class_names", None)
    loss = float(F.cross_entropy(logits, targets))
    names = names or tuple(map(str, range(logits.shape[1])))
    return Result(logits.softmax(1), targets, loss, **compute_metrics(logits, targets), class_names=names)
