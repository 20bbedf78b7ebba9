"""Train a model: a short loop, its defaults the recipe that the model carries."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import ArgumentError, TrainingError
from ..net import Net
from ..weights.save import save_weights
from .evaluate import Batches, evaluate
from .history import History, Row
from .metrics import EpochMetrics, check_batch, check_batches, unpack
from .progress import Progress
from .setup import Callback, Loss, check_loss, check_records, check_run, check_steps, cross_entropy, recipe


def fit(
    model: Net,
    train: Batches,
    val: Batches | None = None,
    *,
    epochs: int,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    loss: Loss | None = None,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    channels_last: bool = True,
    monitor: str = "accuracy",
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    progress: bool | None = None,
    callbacks: Iterable[Callback] = (),
) -> History:
    """Train the model in place on (images, targets) batches and return a row an epoch.

    None for `lr`, `momentum` and `weight_decay` is the model's own recipe: SGD 0.025, 0.9, 3e-4 unless its registry entry
    says otherwise. The rate steps once an epoch: epoch e, from 0, uses lr / 2 * (1 + cos(pi * e / epochs)). An `optimizer`
    of one's own takes the place of those three, and then a `scheduler`, or none, that of the cosine. The loss is cross
    entropy, with `label_smoothing` and `class_weights` (num_classes,), unless `loss(logits, targets)` is given; auxiliary
    heads (`with_aux`) add theirs, weighted.

    The model ends with the last epoch's weights. `out` is a folder for `best.safetensors`, best by `monitor` (a column of
    the history, of the validation data where there are any), and `history.csv`; None writes nothing. `seed` sets torch's
    generator; the order of images is the loader's own. `device` is the accelerator where there is one. `progress` None
    shows a bar on a terminal only. Each callback gets the model and the epoch's row.

    Raises:
        ArgumentError: an argument lies outside its range; nothing has been trained then.
        TrainingError: the loss is not finite; the message says where, and `best.safetensors` is as it was.
    """
    check_steps(model, epochs, optimizer, scheduler, lr=lr, momentum=momentum, weight_decay=weight_decay)
    check_batches("train", train)
    check_batches("val", () if val is None else val)
    check_loss(model, loss, label_smoothing, class_weights)
    monitor, folder = check_records(model, monitor, out, validated=val is not None)
    place, callbacks = check_run(device, seed, callbacks, channels_last=channels_last, progress=progress)
    if seed is not None:
        torch.manual_seed(seed)
    model.to(device=place)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    criterion = cross_entropy(model, loss, label_smoothing, class_weights)
    if optimizer is None:
        optimizer, scheduler = recipe(model, epochs, lr=lr, momentum=momentum, weight_decay=weight_decay)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    _take_names(model, train)
    history = History(monitor)
    for epoch in range(epochs):
        start = time.monotonic()
        row: Row = {"epoch": epoch, "lr": optimizer.param_groups[0]["lr"]}
        row |= _train_epoch(model, train, optimizer, criterion, Progress(epoch, epochs, train, row["lr"], progress))
        if val is not None:
            result = evaluate(model, val)
            row |= {"val_loss": result.loss, "val_accuracy": result.accuracy, "val_auc": result.auc}
        row["seconds"] = time.monotonic() - start
        if scheduler is not None:
            scheduler.step()
        history.epochs.append(row)
        if folder is not None:
            _record(model, history, folder)
        for callback in callbacks:
            callback(model, row)
    return history


def _train_epoch(model: Net, batches: Batches, optimizer: Optimizer, criterion: Loss, progress: Progress) -> Row:
    """Return loss, accuracy and AUC over one pass."""
    like, layout = next(model.parameters()), torch.channels_last if model.is_channels_last else torch.preserve_format
    metrics, step = EpochMetrics(model.num_classes), -1
    model.train()
    for step, (images, targets) in enumerate(map(unpack, progress.over(batches))):
        check_batch(images, targets, model.num_classes)
        images = images.to(like.device, like.dtype, memory_format=layout)
        targets = targets.to(like.device)
        optimizer.zero_grad(set_to_none=True)
        logits, value = _losses(model, images, targets, criterion)
        if not math.isfinite(value.item()):
            raise TrainingError(
                f"the loss is {value.item()} in step {step} of epoch {progress.epoch}, with lr={progress.lr:.3g}; lower lr, "
                "or check this batch for values that are not finite"
            )
        value.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        metrics.update(value, logits, targets)
        progress.show(metrics)
    progress.close()
    if step < 0:
        raise ArgumentError(
            f"fit: no batch in epoch {progress.epoch}; a DataLoader with drop_last=True needs a whole batch of images, and a "
            "generator can be read only once: pass a list or a DataLoader"
        )
    return metrics.compute()


def _losses(model: Net, images: Tensor, targets: Tensor, criterion: Loss) -> tuple[Tensor, Tensor]:
    """Return the logits, and their loss with the auxiliary heads' weighted losses added."""
    if not model.aux:
        logits: Tensor = model(images)
        return logits, criterion(logits, targets)
    logits, taps = model.forward_aux(images)
    total = criterion(logits, targets)
    for aux in model.network.aux:
        total = total + aux.weight * criterion(taps[aux.tap], targets)
    return logits, total


def _take_names(model: Net, train: Batches) -> None:
    """Take the class names of an image folder, where the loader has one and the model has none."""
    classes = getattr(getattr(train, "dataset", None), "classes", None)
    if model.class_names is None and isinstance(classes, list | tuple) and len(classes) == model.num_classes:
        model.set_class_names([str(name) for name in classes])


def _record(model: Net, history: History, folder: Path) -> None:
    """Save the model where this epoch is the best so far, and the rows."""
    history.to_csv(folder / "history.csv")
    row = history.epochs[-1]
    if history.best is row:
        save_weights(model, folder / "best.safetensors", metrics={key: value for key, value in row.items() if value == value})
