"""What `fit` starts from: its arguments checked, and the defaults of its model's recipe."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from ..entry import Recipe
from ..errors import ArgumentError, check_choice, check_int, check_rate
from ..net import Net

Loss = Callable[[Tensor, Tensor], Tensor]


def recipe(
    model: Net,
    epochs: int,
    *,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
) -> tuple[Optimizer, LRScheduler]:
    """Return SGD and its cosine by the model's recipe, each number overridden where it is given."""
    own = model.entry.recipe if model.entry else Recipe()
    optimizer = SGD(
        model.parameters(),
        lr=own.lr if lr is None else lr,
        momentum=own.momentum if momentum is None else momentum,
        weight_decay=own.weight_decay if weight_decay is None else weight_decay,
    )
    return optimizer, CosineAnnealingLR(optimizer, T_max=epochs)


def cross_entropy(model: Net, loss: Loss | None, label_smoothing: float, class_weights: Tensor | None) -> Loss:
    """Return the caller's `loss`, or cross entropy on the model's device.

    Raises:
        ArgumentError: the smoothing lies outside 0..1, there are not as many weights as classes, or a loss of the
            caller's own would leave them without effect.
    """
    check_rate("label_smoothing", label_smoothing)
    if loss is not None:
        if label_smoothing or class_weights is not None:
            raise ArgumentError(
                "label_smoothing and class_weights have no effect beside a loss of your own; build them into it"
            )
        return loss
    if class_weights is not None and class_weights.shape != (model.num_classes,):
        raise ArgumentError(
            f"class_weights of shape {tuple(class_weights.shape)} must have shape ({model.num_classes},), one a class"
        )
    weight = None if class_weights is None else class_weights.to(next(model.parameters()))
    return nn.CrossEntropyLoss(weight, label_smoothing=label_smoothing)


def accelerator() -> torch.device | None:
    """Return the accelerator that torch finds, or None."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def check_arguments(
    model: Net, epochs: int, optimizer: Optimizer | None, scheduler: LRScheduler | None, *numbers: float | None
) -> None:
    """Check what `fit` trains by; `numbers` are lr, momentum and weight_decay.

    Raises:
        ArgumentError: an argument lies outside its range, or has no effect beside another.
    """
    check_int("epochs", epochs, 1)
    if not isinstance(model, Net) or model.num_classes < 2:
        raise ArgumentError("fit takes a model of create_model with num_classes of at least 2; see reset_classifier")
    for name, number in zip(("lr", "momentum", "weight_decay"), numbers, strict=True):
        if number is not None and optimizer is not None:
            raise ArgumentError(f"{name}={number!r} has no effect beside an optimizer of your own; set it there")
        if number is not None and not 0 <= number < math.inf:
            raise ArgumentError(f"{name}={number!r} must be a finite number of at least 0")
    if scheduler is not None and optimizer is None:
        raise ArgumentError("a scheduler of your own needs the optimizer that it steps; pass that too")


def check_records(model: Net, monitor: str, out: str | os.PathLike[str] | None, *, validated: bool) -> str:
    """Return the column by which the best epoch is chosen: of the validation data where there are any.

    Raises:
        ArgumentError: there is no such column, or `out` is asked for a model that cannot be saved.
    """
    if out is not None and model.entry is None:
        raise ArgumentError(
            f"out={str(out)!r} needs a model that can be saved: register_model its network, then create_model it"
        )
    names = ("loss", "accuracy", "auc")
    check_choice("monitor", monitor, (*names, *(f"val_{name}" for name in names)) if validated else names)
    return f"val_{monitor}" if validated and monitor in names else monitor
