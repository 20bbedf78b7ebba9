"""A learning rate schedule of the user: whether it belongs to the optimizer, and when `fit` steps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..errors import ArgumentError
from ._history import Row, smaller_is_better

Unit = Literal["epoch", "step"]


@runtime_checkable
class TimmScheduler(Protocol):
    """A scheduler of `timm.scheduler`. Its `t_in_epochs` says whether it counts epochs or optimizer steps."""

    optimizer: Optimizer
    t_in_epochs: bool

    def step(self, epoch: int, metric: float | None = None) -> None: ...
    def step_update(self, num_updates: int, metric: float | None = None) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


Scheduler = LRScheduler | TimmScheduler


@dataclass(slots=True)
class Schedule:
    """A scheduler and the calls that step it.

    A scheduler of torch steps after each epoch or after each optimizer step, as `unit` says. ReduceLROnPlateau gets `column`
    of the epoch's row. A scheduler of timm gets the number of epochs and of optimizer steps, and uses one of them.
    """

    scheduler: Scheduler
    unit: Unit = "epoch"
    column: str = "loss"
    num_updates: int = 0

    def after_step(self) -> None:
        """Step the schedule after a step of the optimizer."""
        self.num_updates += 1
        if isinstance(self.scheduler, TimmScheduler):
            self.scheduler.step_update(self.num_updates)
        elif self.unit == "step":
            self.scheduler.step()

    def after_epoch(self, row: Row) -> None:
        """Step the schedule after the epoch of the row."""
        if isinstance(self.scheduler, TimmScheduler):
            self.scheduler.step(int(row["epoch"]) + 1, row[self.column])
        elif isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(row[self.column])
        elif self.unit == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state, and for timm's the number of optimizer steps, which it does not count."""
        count = {"num_updates": self.num_updates} if isinstance(self.scheduler, TimmScheduler) else {}
        return {**self.scheduler.state_dict(), **count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        state = dict(state_dict)
        self.num_updates = state.pop("num_updates", 0)
        self.scheduler.load_state_dict(state)


def check_scheduler(scheduler: object, optimizer: Optimizer | None, unit: Unit) -> None:
    """Check that `fit` can step a scheduler, and that it sets the learning rates of the optimizer.

    Raises:
        ArgumentError: it cannot, or the scheduler is of another optimizer.
    """
    name = f"scheduler={scheduler!r}" if isinstance(scheduler, type) else f"scheduler: {type(scheduler).__name__}"
    if optimizer is None:
        raise ArgumentError(f"scheduler={scheduler!r} needs the optimizer that it steps; pass that too")
    if not isinstance(scheduler, LRScheduler | TimmScheduler):
        raise ArgumentError(f"scheduler={scheduler!r} must be one of torch.optim.lr_scheduler or timm.scheduler")
    if isinstance(getattr(scheduler, "lr_scheduler", None), ReduceLROnPlateau):
        raise ArgumentError(f"{name} cannot be resumed, because timm does not save its state; use torch's ReduceLROnPlateau")
    if scheduler.optimizer.param_groups is not optimizer.param_groups:
        raise ArgumentError(
            f"{name} is of another optimizer, so that the learning rate would not change; make it from this one"
        )
    if unit == "step" and isinstance(scheduler, ReduceLROnPlateau):
        raise ArgumentError(f"scheduler_step='step': {name} needs the metric of an epoch; leave scheduler_step out")
    if unit == "step" and isinstance(scheduler, TimmScheduler) and scheduler.t_in_epochs:
        raise ArgumentError(f"scheduler_step='step': {name} has t_in_epochs=True; make it with t_in_epochs=False")


def metric_column(scheduler: Scheduler, monitor: str, *, has_val: bool) -> str:
    """Return the column of the history that ReduceLROnPlateau gets: the monitored one, or a loss for mode="min".

    Raises:
        ArgumentError: the monitored column is better the smaller it is, and the mode is "max".
    """
    mode = getattr(scheduler, "mode", None)
    if mode == "min" and not smaller_is_better(monitor):
        return "val_loss" if has_val else "loss"
    if mode == "max" and smaller_is_better(monitor):
        raise ArgumentError(
            f"scheduler: ReduceLROnPlateau has mode='max', and monitor={monitor!r} is better the smaller it is; use mode='min'"
        )
    return monitor.removeprefix("-")
