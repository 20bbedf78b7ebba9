"""The arguments of `fit` that depend on the task: class weights, class names and the monitored column."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from ..errors import ArgumentError, check_choice, check_number
from ..evaluation import Batches, Loss, Task, align_classes, check_logits, check_number_of_classes, find_class_names
from ..nn import Net

ERRORS = "mae", "rmse"  # columns whose smallest value is the best, also those of the caller's metrics
ClassWeights = Tensor | Sequence[float] | numpy.ndarray[Any, Any]


def check_loss_options(weights: object, label_smoothing: float, loss: Loss | None, task: Task) -> Tensor | None:
    """Return the class weights as a tensor (num_classes,), or None.

    Raises:
        ArgumentError: the weights are not one number of at least 0 for each class, or an option has no effect on the loss.
    """
    if not label_smoothing and weights is None:
        return None
    if loss is not None:
        raise ArgumentError("label_smoothing and class_weights have no effect with a loss of your own; build them into it")
    if task.name != "multiclass":
        raise ArgumentError(
            f"label_smoothing and class_weights are of the cross entropy, and task={task.name!r} has another loss; pass your "
            "own, for example loss=torch.nn.BCEWithLogitsLoss(pos_weight=...)"
        )
    return None if weights is None else _as_tensor(weights, task.num_outputs)


def _as_tensor(weights: object, num_classes: int) -> Tensor:
    if not isinstance(weights, Tensor | numpy.ndarray | list | tuple):
        raise ArgumentError(f"class_weights={weights!r} must be a list, an array or a Tensor of {num_classes} numbers")
    shape = tuple(weights.shape) if isinstance(weights, Tensor | numpy.ndarray) else (len(weights),)
    if shape != (num_classes,):
        raise ArgumentError(f"class_weights of shape {shape} must have shape ({num_classes},), one weight for each class")
    for index, weight in enumerate(weights if isinstance(weights, list | tuple) else weights.tolist()):
        check_number(f"class_weights of shape {shape}: number {index}", weight)
    result = weights if isinstance(weights, Tensor) else torch.tensor(weights)
    if not bool(result.any()):
        raise ArgumentError(f"class_weights of shape {shape} are all 0, so that no image counts; one must be greater")
    return result


def check_classes(model: Net, train: Batches, val: Batches | None, task: Task) -> None:
    """Check that the model returns logits, and that the classes of the data sets, where they have names, fit it and each other.

    Raises:
        ArgumentError: the head ends in a softmax or a sigmoid, the numbers of classes differ, or `val` has a class that `train`
            lacks.
    """
    check_logits(model, task)
    names = find_class_names(train)
    check_number_of_classes(names, task, "train")
    align_classes(find_class_names(val), names or model.class_names, task, "val")


def trained_class_names(model: Net, train: Batches, task: Task) -> tuple[str, ...] | None:
    """Return the names of the outputs after training: those of the training data, or the model's own if it has none."""
    names = None if task.name == "regression" else find_class_names(train)
    return model.class_names if names is None else names


def copy_class_names(model: Net, train: Batches, task: Task) -> None:
    """Give the model the class names of the training data, if it has any: they are what the outputs mean from now on."""
    names = trained_class_names(model, train, task)
    if names is None or names == model.class_names:
        return
    if model.class_names is not None and set(model.class_names) == set(names):
        warnings.warn(
            f"the model's classes were {list(model.class_names)}, those of train are {list(names)}: fit trains the outputs in "
            "the order of train, and names them so",
            stacklevel=4,  # the call of fit
        )
    model.set_class_names(names)


def resolve_monitor(monitor: str | None, metrics: Collection[str], task: Task, *, validates: bool) -> str:
    """Return the column that chooses the best epoch: the validation column if there is validation data.

    The name of an error, of which the smallest is the best, gets a "-".

    Raises:
        ArgumentError: there is no such column, or one of the caller's metrics is a column already or needs validation data.
    """
    if metrics and not validates:
        raise ArgumentError(f"metrics={sorted(metrics)} are computed on the validation data; pass val too")
    if taken := sorted({"loss", "seconds", *task.columns}.intersection(metrics)):
        raise ArgumentError(f"metrics: {taken[0]!r} is a column of the history already; choose another name")
    monitor = task.monitor if monitor is None else monitor
    errors = [name for name in task.columns if name in ERRORS]
    names = ("loss", *task.columns, *metrics, *(f"-{name}" for name in (*metrics, *errors)))
    if not validates:
        check_choice("monitor", monitor, names)
    else:
        check_choice("monitor", monitor, (*names, *map(_validation_column, names)))
        monitor = _validation_column(monitor) if monitor in names else monitor
    return f"-{monitor}" if monitor.removeprefix("val_") in ERRORS else monitor


def _validation_column(name: str) -> str:
    """Return the validation column of a training column: "-error" becomes "-val_error"."""
    return f"-val_{name[1:]}" if name.startswith("-") else f"val_{name}"
