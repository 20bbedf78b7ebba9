"""Check that a schedule's own length fits the training: a schedule of optimizer steps must not step once an epoch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, ReduceLROnPlateau

from ..errors import ArgumentError
from ..nn import private_torch
from ._recipe import learning_rate
from ._schedule import Scheduler, TimmScheduler, Unit

CYCLES = ("T_max", "num_training_steps")  # lengths after which the learning rate rises again
LENGTHS = ("total_steps", "T_max", "total_iters", "T_0", "total_size", "anneal_epochs", "step_size")  # of torch's schedulers
PERIODS = "step_size", "decay_t"  # of schedules that change the rate once a period
FIRST_STEPS = *PERIODS, "milestones[0]"  # the number of steps before the first change of the rate


def check_length(scheduler: Scheduler, unit: Unit, epochs: int, steps: int | None) -> None:
    """Check that a schedule fits a training of `epochs` epochs and `steps` optimizer steps (None: unknown).

    Warns if the schedule is longer than the training, or if it is a cosine or linear schedule that ends before it.

    Raises:
        ArgumentError: the schedule counts in the other unit, or OneCycleLR has another length, or all rates are 0 in the
            whole first epoch.
    """
    if isinstance(scheduler, TimmScheduler):
        unit = "epoch" if scheduler.t_in_epochs else "step"
    for name, length in _lengths(scheduler):
        _check_one(scheduler, unit, name, length, epochs, steps)
    if unit == "epoch":
        _check_first_rate(scheduler)


def _check_one(scheduler: Scheduler, unit: Unit, name: str, length: int, epochs: int, steps: int | None) -> None:
    """Check that the schedule's `name`, after which it ends or changes, is the number of times that `fit` steps it."""
    count, other = (epochs, steps) if unit == "epoch" else (steps, epochs)
    if count is None or length == count:
        return
    step = "epoch" if unit == "epoch" else "optimizer step"
    text = (
        f"scheduler: {type(scheduler).__name__} has {name}={length}{_left(scheduler)}, and fit steps it {count} times, "
        f"once an {step} (epochs: {epochs}, optimizer steps: {steps or 'unknown'})"
    )
    is_cycle = name in CYCLES or isinstance(scheduler, TimmScheduler)
    is_other_unit = length == other and (length > count or is_cycle) and name not in PERIODS
    if is_other_unit or name == "total_steps":  # OneCycleLR takes no more steps than these
        remedy = f"{_other_unit(scheduler, unit)}, or " if other in (None, length) else ""
        raise ArgumentError(f"{text}; {remedy}make it {count} long")
    if length > count or name in CYCLES:
        remedy = f" or {_other_unit(scheduler, unit)}" if unit == "epoch" and length > count else ""
        wish = f"the rate does not change; use less than {count}" if name in FIRST_STEPS else f"make it {count} long"
        warnings.warn(f"{text}; {wish}{remedy}", stacklevel=7)  # the call of fit


def _check_first_rate(scheduler: Scheduler) -> None:
    """Check that a schedule of epochs does not keep all rates 0 in the first one."""
    if learning_rate(scheduler.optimizer) or isinstance(scheduler, ReduceLROnPlateau):
        return
    if done := _left(scheduler):
        remedy = f"it has no steps{done}: make a new optimizer and scheduler for each call of fit"
    elif isinstance(scheduler, TimmScheduler):
        remedy = "make it with a larger warmup_lr_init"
    else:
        remedy = _other_unit(scheduler, "epoch")
    raise ArgumentError(f"scheduler: {type(scheduler).__name__} keeps the learning rate 0 in the whole first epoch; {remedy}")


def _left(scheduler: Scheduler) -> str:
    done = getattr(scheduler, "last_epoch", 0)
    return f" left after the {done} that it has taken" if done > 0 else ""


def _other_unit(scheduler: Scheduler, unit: Unit) -> str:
    if isinstance(scheduler, TimmScheduler):
        return f"make it with t_in_epochs={unit == 'step'}"
    return f"pass scheduler_step={'step' if unit == 'epoch' else 'epoch'!r}"


def _lengths(scheduler: Scheduler) -> Iterator[tuple[str, int]]:
    """Yield the names and values of a scheduler's arguments that say after how many more steps it ends."""
    done = max(0, getattr(scheduler, "last_epoch", 0))
    arguments = vars(scheduler)
    if isinstance(scheduler, LRScheduler) and (parts := private_torch.combined_schedulers(scheduler)):
        for start, part in parts:
            yield from ((name, max(0, start - done) + length) for name, length in _lengths(part))
    elif isinstance(scheduler, MultiStepLR):
        yield "milestones[0]", min(scheduler.milestones, default=0) - done
    elif isinstance(scheduler, LambdaLR):  # transformers' schedules
        keywords = [function.keywords for function in scheduler.lr_lambdas if isinstance(function, partial)]
        arguments = {key: value for options in keywords for key, value in options.items()}
        if (name := "num_training_steps") in arguments or (name := "num_warmup_steps") in arguments:
            yield name, arguments[name] - done
    if isinstance(scheduler, TimmScheduler):
        yield from _timm_lengths(arguments)
    for name in LENGTHS:
        if isinstance(arguments.get(name), int | float):
            yield name, int(arguments[name]) - done


def _timm_lengths(arguments: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the cycle of a scheduler of timm, after its warm-up if that comes first, or its first step."""
    warmup = int(arguments.get("warmup_t", 0)) if arguments.get("warmup_prefix") else 0
    prefix = "warmup_t + " if warmup else ""
    if "t_initial" in arguments:
        yield f"{prefix}t_initial", warmup + int(arguments["t_initial"])
    if decay := arguments.get("decay_t"):
        yield "decay_t", warmup + int(min(decay) if isinstance(decay, list | tuple) else decay)
