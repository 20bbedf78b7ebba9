"""Parts of a training: optimizer and schedule, gradient scaler."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import torch
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from ..errors import ArgumentError, check_choice, check_int, check_number, plain_int
from ..nn import Net, private_torch, require_net
from ..spec import Recipe
from ._modes import requires_grad

OPTIMIZERS = ("sgd", "adamw")
ADAMW = Recipe(lr=5e-4, weight_decay=0.05)


def recipe(
    model: Net,
    epochs: int,
    *,
    optimizer: Literal["sgd", "adamw"] | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    warmup_epochs: int = 0,
    layer_decay: float | None = None,
) -> tuple[Optimizer, LRScheduler]:
    """Return an optimizer for the model, and its learning rate schedule; step the schedule once an epoch.

    `optimizer` is "sgd" (default) or "adamw". `lr`, `momentum` and `weight_decay` of SGD are by default those of the model's
    registry entry; AdamW has no momentum, and by default lr=5e-4 and weight_decay=0.05. The learning rate rises in equal
    steps for `warmup_epochs` and then falls to 0 on a cosine. `layer_decay` is timm's: the learning rate of each stage (see
    `group_matcher`) is this factor times that of the next one. With it, biases and norms have no weight decay.

    Raises:
        ArgumentError: `model` is not a model of this library, or an argument lies outside its range or has no effect on the
            optimizer.
    """
    require_net(private_torch.uncompiled(model), "recipe")
    epochs, warmup_epochs = plain_int(epochs), plain_int(warmup_epochs)
    check_recipe(epochs, warmup_epochs, optimizer, lr=lr, momentum=momentum, weight_decay=weight_decay, layer_decay=layer_decay)
    defaults = ADAMW if optimizer == "adamw" else model.entry.recipe if model.entry else Recipe()
    rate = defaults.lr if lr is None else lr
    decay = defaults.weight_decay if weight_decay is None else weight_decay
    groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": rate}]
    if layer_decay is not None:
        from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]  # exported, but not in timm's __all__

        with requires_grad(model.parameters(), True):  # timm leaves frozen ones out, and a callback may unfreeze them
            groups = param_groups_layer_decay(model, decay, layer_decay=layer_decay)
        groups = [{"lr": rate * group.pop("lr_scale"), **group} for group in groups]
    made: Optimizer
    if optimizer == "adamw":
        made = AdamW(groups, lr=rate, weight_decay=decay)
    else:
        made = SGD(groups, lr=rate, momentum=defaults.momentum if momentum is None else momentum, weight_decay=decay)

    def factor(epoch: int) -> float:
        if epoch < warmup_epochs:
            return (epoch + 1) / (warmup_epochs + 1)
        return 0.5 * (1 + math.cos(math.pi * (epoch - warmup_epochs) / (epochs - warmup_epochs)))

    return made, LambdaLR(made, factor)


def learning_rate(optimizer: Optimizer) -> float:
    """Return the largest learning rate of the groups; nan if they have none, as in Adafactor with a relative step."""
    rates = [float(group["lr"]) for group in optimizer.param_groups if group.get("lr") is not None]
    return max(rates, default=math.nan)


def set_rates(scheduler: object) -> None:
    """Set the learning rates to those of the current epoch of `recipe`'s schedule, after its state was restored."""
    assert isinstance(scheduler, LambdaLR)
    factors = [factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    for group, rate, factor in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, factors, strict=True):
        group["lr"] = rate * factor


def check_recipe(epochs: int, warmup_epochs: int, optimizer: str | None, **numbers: float | None) -> None:
    """Check the arguments of `recipe`. Each of `numbers` may be None.

    Raises:
        ArgumentError: an argument lies outside its range, or has no effect on the optimizer.
    """
    if optimizer is not None:
        check_choice("optimizer", optimizer, OPTIMIZERS)
    check_int("epochs", epochs, 1)
    check_int(f"epochs={epochs}: warmup_epochs", warmup_epochs, 0, epochs - 1)
    for name, number in numbers.items():
        if number is not None:
            check_number(name, number)
            if name in ("momentum", "layer_decay") and number > 1:
                raise ArgumentError(f"{name}={number!r} must be a number from 0 to 1")
    if optimizer == "adamw" and numbers["momentum"] is not None:
        raise ArgumentError(f"momentum={numbers['momentum']} has no effect with optimizer='adamw'; leave it out, or use 'sgd'")


def describe_optimizer(model: Net, optimizer: Optimizer) -> str:
    """Return a line with the model's name, and the optimizer's name, learning rate, momentum and weight decay."""
    name, rate = model.entry.name if model.entry else "a network without a name", learning_rate(optimizer)
    group = next((one for one in optimizer.param_groups if one.get("lr") == rate), optimizer.param_groups[0])
    values = {"lr": rate, **{key: group[key] for key in ("momentum", "weight_decay") if isinstance(group.get(key), Real)}}
    return f"{name}: {type(optimizer).__name__}, {', '.join(f'{key} {value:.4g}' for key, value in values.items())}"


def make_grad_scaler(model: Net, precision: str) -> torch.amp.GradScaler:
    """Return a gradient scaler, which is enabled for "fp16" only."""
    return torch.amp.GradScaler(next(model.parameters()).device.type, enabled=precision == "fp16")
