"""The arguments of `fit`, checked before anything is allocated or changed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..errors import ArgumentError, check_choice, check_flag, check_int, check_number, check_path, check_rate
from ..evaluation import check_loader, length_or_none
from ..nn import Net, check_device, default_accelerator
from ._callbacks import Callback
from ._history import COLUMNS
from ._recipe import Loss
from ._state import LAST
from ._step import PRECISIONS
from ._trainer import Metrics

SEEDS = (-(2**63), 2**64 - 1)  # what torch.manual_seed takes


def check_steps(model: Net, optimizer: Optimizer | None, scheduler: LRScheduler | None, **numbers: float | None) -> None:
    """Check what is trained, and by which steps; `numbers` are the recipe's, None where nothing is said.

    Raises:
        ArgumentError: an argument lies outside its range, or has no effect beside another.
    """
    if not isinstance(model, Net) or model.num_classes < 2:
        classes = f" with num_classes={model.num_classes}" if isinstance(model, Net) else ""
        raise ArgumentError(
            f"model of type {type(model).__name__}{classes} must be one of create_model with num_classes of at least 2; "
            "see reset_classifier"
        )
    if model.fused:
        raise ArgumentError("the model is fused, for evaluation alone; train the one that it was made from")
    for name, number in numbers.items():
        if number is not None and optimizer is not None:
            raise ArgumentError(f"{name}={number!r} has no effect beside an optimizer of your own; set it there")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"optimizer={optimizer!r} must be one of torch.optim on the model's parameters, or None")
    if scheduler is not None and optimizer is None:
        raise ArgumentError(f"scheduler={scheduler!r} needs the optimizer that it steps; pass that too")
    if scheduler is not None and (not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau)):
        raise ArgumentError(f"scheduler={scheduler!r} must be one of torch.optim.lr_scheduler that steps without a metric")


def check_epochs(epochs: int, freeze: int, patience: int | None) -> None:
    """Check which epochs are special.

    Raises:
        ArgumentError: a number of them lies outside its range.
    """
    check_int("freeze_epochs", freeze, 0, epochs)
    if patience is not None:
        check_int("patience_epochs", patience, 1)


def check_loss(model: Net, loss: Loss | None, label_smoothing: float, class_weights: Tensor | None) -> None:
    """Check what is minimised.

    Raises:
        ArgumentError: the smoothing lies outside 0..1, there are not as many weights as classes, one is no finite number
            of at least 0, or a loss of the caller's own would leave them without effect.
    """
    check_rate("label_smoothing", label_smoothing)
    if loss is not None and not callable(loss):
        raise ArgumentError(f"loss={loss!r} must be a function of (logits, targets), or None for cross entropy")
    if loss is not None and (label_smoothing or class_weights is not None):
        raise ArgumentError("label_smoothing and class_weights have no effect beside a loss of your own; build them into it")
    if class_weights is None:
        return
    if not isinstance(class_weights, Tensor):
        raise ArgumentError(f"class_weights={class_weights!r} must be a Tensor, as torch.ones({model.num_classes}) is one")
    shape = tuple(class_weights.shape)
    if shape != (model.num_classes,):
        raise ArgumentError(f"class_weights of shape {shape} must have shape ({model.num_classes},), one a class")
    for index, weight in enumerate(class_weights.tolist()):
        check_number(f"class_weights of shape {shape}: number {index}", weight)


def check_records(
    model: Net, monitor: str, metrics: Metrics | None, out: str | os.PathLike[str] | None, *, validated: bool
) -> tuple[str, Metrics, Path | None]:
    """Return the column by which the best epoch is chosen, of the validation data where there are any; metrics, folder.

    Raises:
        ArgumentError: there is no such column, a metric is no function of a name of its own, or there is nothing to take it
            of; `out` is no path or asked for a model that cannot be saved.
    """
    folder = None if out is None else check_path("out", out)
    if folder is not None and model.entry is None:
        raise ArgumentError(
            f"out={str(out)!r} needs a model that can be saved: register_model its network, then create_model it"
        )
    own: Metrics = {} if metrics is None else metrics
    if not isinstance(own, Mapping) or not all(isinstance(key, str) and callable(own[key]) for key in own):
        raise ArgumentError(f"metrics={metrics!r} must be names with functions of a Result, as {{'error': lambda r: ...}}")
    if taken := sorted({f"val_{name}" for name in own}.intersection((*COLUMNS, "val_seconds"))):
        raise ArgumentError(f"metrics: {taken[0].removeprefix('val_')!r} is in the history already; choose another name")
    if own and not validated:
        raise ArgumentError(f"metrics={sorted(own)} are of the validation data; pass val too")
    names = ("loss", "accuracy", "auc", *own, *(f"-{name}" for name in own))
    check_choice("monitor", monitor, (*names, *(_validated(name) for name in names)) if validated else names)
    return (_validated(monitor) if validated and monitor in names else monitor), own, folder


def _validated(name: str) -> str:
    """Return a column's name for the validation data; "-" before it stays before it."""
    return f"-val_{name[1:]}" if name.startswith("-") else f"val_{name}"


def check_memory(model: Net, accumulate: int, precision: str, ema: float | None, *, checkpoint: bool) -> None:
    """Check what a step is made of.

    Raises:
        ArgumentError: an argument lies outside its range, or the model's weights are no float32 for another precision.
    """
    check_int("accumulate", accumulate, 1)
    check_choice("precision", precision, PRECISIONS)
    kind = next(model.parameters()).dtype
    if precision != "fp32" and kind is not torch.float32:
        raise ArgumentError(f"precision={precision!r} needs weights of torch.float32, and these are {kind}; call model.float()")
    check_flag("checkpoint", checkpoint)
    if ema is not None:
        check_rate("ema", ema)


def check_resume(resume: bool | str, folder: Path | None, train: object) -> bool:
    """Return whether the training goes on from the folder's state; the folder is there after.

    Raises:
        ArgumentError: that is demanded and cannot be.
    """
    check_choice("resume", resume, (True, False, "auto"))
    if folder is None:
        if resume is True:
            raise ArgumentError("resume=True needs out, the folder of the training to go on with")
        return False
    found = (folder / LAST).is_file()
    if resume is True and not found:
        raise ArgumentError(f"resume=True: {folder / LAST} is not there; pass resume='auto' to start where there is none")
    if found and resume and isinstance(train, Iterator):
        raise ArgumentError("train is an iterator, which cannot be wound back to where it was; pass a DataLoader or a list")
    if found and resume and getattr(train, "persistent_workers", False):
        raise ArgumentError("train has persistent_workers=True, whose random state is lost with them; pass a loader without")
    folder.mkdir(parents=True, exist_ok=True)
    return found and resume is not False


def check_run(
    train: object,
    val: object | None,
    device: str | torch.device | None,
    seed: int | None,
    callbacks: Iterable[Callback],
    *,
    channels_last: bool,
    progress: bool | None,
) -> tuple[torch.device | None, tuple[Callback, ...]]:
    """Return the device, which is the accelerator where none is said and there is one, and the callbacks.

    Raises:
        ArgumentError: an argument lies outside its range.
    """
    check_loader("train", train)
    check_loader("val", () if val is None else val)
    if length_or_none(val) == 0:
        raise ArgumentError("val has no batch; pass validation data, or None")
    if seed is not None:
        check_int("seed", seed, *SEEDS)
    check_flag("channels_last", channels_last)
    if progress is not None:
        check_flag("progress", progress)
    found = tuple(callbacks) if isinstance(callbacks, Iterable) else (None,)
    if not all(map(callable, found)):
        raise ArgumentError(f"callbacks={callbacks!r} must be a list of functions of (model, row)")
    place, own = check_device(device), default_accelerator()
    unnumbered = place is not None and own is not None and place.type == own.type and place.index is None
    return own if place is None or unnumbered else place, found
