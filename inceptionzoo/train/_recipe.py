"""What a training steps with: optimizer and schedule, loss, average, scaler. For a loop of one's own as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import check_int, check_number
from ..nn import AuxHead, Net, training_batch_norms
from ..spec import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]


def recipe(
    model: Net,
    epochs: int,
    *,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    warmup_epochs: int = 0,
    layer_decay: float | None = None,
) -> tuple[Optimizer, LRScheduler]:
    """Return SGD by the model's recipe, each number overridden where it is given, and its schedule, a step an epoch.

    The rate rises in equal steps for `warmup_epochs` and then follows a cosine to 0. `layer_decay` is timm's: each stage below
    the head, as `group_matcher` counts them, has the rate of the next times this factor, and biases and norms no decay.

    Raises:
        ArgumentError: a number lies outside its range.
    """
    check_numbers(epochs, warmup_epochs, lr=lr, momentum=momentum, weight_decay=weight_decay, layer_decay=layer_decay)
    own = model.entry.recipe if model.entry else Recipe()
    rate = own.lr if lr is None else lr
    decay = own.weight_decay if weight_decay is None else weight_decay
    groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": rate}]
    if layer_decay is not None:
        from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]  # of timm's face, if not of its __all__

        groups = param_groups_layer_decay(model, decay, layer_decay=layer_decay)
        groups = [{"lr": rate * group.pop("lr_scale"), **group} for group in groups]
    optimizer = SGD(groups, lr=rate, momentum=own.momentum if momentum is None else momentum, weight_decay=decay)

    def share(epoch: int) -> float:
        if epoch < warmup_epochs:
            return (epoch + 1) / (warmup_epochs + 1)
        return 0.5 * (1 + math.cos(math.pi * (epoch - warmup_epochs) / (epochs - warmup_epochs)))

    return optimizer, LambdaLR(optimizer, share)


def check_numbers(epochs: int, warmup_epochs: int, **numbers: float | None) -> None:
    """Check the numbers of a recipe; None is the model's own.

    Raises:
        ArgumentError: one lies outside its range.
    """
    check_int("epochs", epochs, 1)
    check_int("warmup_epochs", warmup_epochs, 0, epochs - 1)
    for name, number in numbers.items():
        if number is not None:
            check_number(name, number)


def describe_recipe(model: Net, optimizer: Optimizer) -> str:
    """Return a line that says what the training steps with, and whose numbers these are."""
    name = model.entry.name if model.entry else "a network without a name"
    group = max(optimizer.param_groups, key=lambda group: float(group["lr"]))
    numbers = ", ".join(f"{key} {group[key]:.4g}" for key in ("lr", "momentum", "weight_decay") if key in group)
    return f"{name}: {type(optimizer).__name__}, {numbers}"


def cross_entropy(model: Net, loss: Loss | None, label_smoothing: float, class_weights: Tensor | None) -> Loss:
    """Return the caller's `loss`, or cross entropy on the model's device."""
    if loss is not None:
        return loss
    weight = None if class_weights is None else class_weights.to(next(model.parameters()))
    return nn.CrossEntropyLoss(weight, label_smoothing=label_smoothing)


def make_ema(model: Net, decay: float | None) -> AveragedModel | None:
    """Return an exponential moving average of the model's weights and statistics, or None."""
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


def make_grad_scaler(model: Net, precision: str) -> torch.amp.GradScaler:
    """Return what keeps half-precision gradients from vanishing; it does nothing in the other precisions."""
    return torch.amp.GradScaler(next(model.parameters()).device.type, enabled=precision == "fp16")


@contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Have batch normalisation use its running statistics, and leave them as they are."""
    norms = training_batch_norms(model)
    for module in norms:
        module.eval()
    try:
        yield
    finally:
        for module in norms:
            module.train()


@contextmanager
def frozen_backbone(model: Net) -> Iterator[None]:
    """Leave everything below the classifier, and below those of auxiliary heads, as it is; statistics too."""
    heads = [model.get_classifier(), *(branch.head.fc for branch in model.aux.values() if isinstance(branch, AuxHead))]
    free = {id(parameter) for head in heads for parameter in head.parameters()}
    body = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in free]
    for parameter in body:
        parameter.requires_grad_(False)
    try:
        with running_statistics(model):
            yield
    finally:
        for parameter in body:
            parameter.requires_grad_(True)
