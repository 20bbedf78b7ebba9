"""Check that a schedule's own length fits the training: a schedule of optimizer steps must not step once an epoch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial

from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, ReduceLROnPlateau

from ..errors import ArgumentError
from ..nn import private_torch
from ._schedule import Scheduler, TimmScheduler, Unit

CYCLES = ("T_max", "num_training_steps", "t_initial")  # the rate is wrong after them; that of other lengths stays as it is
LENGTHS = ("total_steps", "T_max", "total_iters", "T_0", "total_size", "t_initial")  # of torch's and timm's schedulers


def check_length(scheduler: Scheduler, unit: Unit, epochs: int, steps: int | None) -> None:
    """Check that a schedule fits a training of `epochs` epochs and `steps` optimizer steps (None: unknown).

    Warns if the schedule is longer or shorter than the training.

    Raises:
        ArgumentError: the schedule counts in the other unit, or OneCycleLR has another length, or all rates are 0 in the
            whole first epoch.
    """
    if isinstance(scheduler, TimmScheduler):
        unit = "epoch" if scheduler.t_in_epochs else "step"
    count, other = (epochs, steps) if unit == "epoch" else (steps, epochs)
    for name, length in _lengths(scheduler):
        if count is None or length == count:
            continue
        text = (
            f"scheduler: {type(scheduler).__name__} has {name}={length}, and fit steps it {count} times, once an "
            f"{'epoch' if unit == 'epoch' else 'optimizer step'} (epochs: {epochs}, optimizer steps: {steps or 'unknown'})"
        )
        if name == "total_steps" or (length == other and (length > count or name in CYCLES)):
            remedy = f"{_other_unit(scheduler, unit)}, or " if other in (None, length) else ""
            raise ArgumentError(f"{text}; {remedy}make it {count} long")
        if length > count or name in CYCLES:
            remedy = f" or {_other_unit(scheduler, unit)}" if unit == "epoch" and length > count else ""
            warnings.warn(f"{text}; make it {count} long{remedy}", stacklevel=6)  # the call of fit
    if unit == "epoch" and not any(float(group["lr"]) for group in scheduler.optimizer.param_groups):
        if isinstance(scheduler, ReduceLROnPlateau):
            return
        remedy = (
            "make it with a larger warmup_lr_init" if isinstance(scheduler, TimmScheduler) else _other_unit(scheduler, unit)
        )
        raise ArgumentError(
            f"scheduler: {type(scheduler).__name__} keeps the learning rate 0 in the whole first epoch; {remedy}"
        )


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
    for name in LENGTHS:
        if isinstance(arguments.get(name), int | float):
            yield name, int(arguments[name]) - done
