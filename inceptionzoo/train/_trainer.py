"""A training on its way."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.lr_scheduler import LRScheduler

from ..errors import ArgumentError
from ..evaluation import DistributedContext, Result, ShardedLoader, evaluate_shards
from ..nn import Net
from ..weights import save_weights
from ._callbacks import Callback
from ._history import History, Row
from ._progress import Progress, say
from ._recipe import describe_recipe, frozen_backbone
from ._state import LAST, State, generators, preserved_rng, save_state, stateful
from ._step import Stepper

Metrics = Mapping[str, Callable[[Result], float]]


@dataclass(slots=True)
class Trainer:
    """What a training steps with, what it reads, its rows so far, and where they are kept."""

    stepper: Stepper
    scheduler: LRScheduler | None
    train: ShardedLoader
    val: ShardedLoader | None
    metrics: Metrics
    history: History
    folder: Path | None
    asked: dict[str, Any]

    @property
    def ranks(self) -> DistributedContext:
        """The processes that share it."""
        return self.train.ranks

    @property
    def model(self) -> Net:
        """The model that is trained."""
        return self.stepper.losses.model

    @property
    def shown(self) -> Net:
        """The model that is validated and saved: the average where there is one."""
        average = self.stepper.average
        shown: Any = self.model if average is None else average.module
        return cast("Net", shown)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def parts(self) -> dict[str, Any]:
        """Everything that the next step depends on, by name."""
        step = self.stepper
        parts = {"model": self.model, "scaler": step.scaler, **({} if step.average is None else {"average": step.average})}
        return parts | stateful(step.optimizer, self.scheduler, self.train.whole)

    def epoch(self, progress: Progress, *, frozen: bool) -> Row:
        """Train one epoch, its body frozen or not, validate, and add its row."""
        start = time.monotonic()
        row: Row = {"epoch": progress.epoch, "lr": progress.lr}
        self.ranks.broadcast_rng(generators(self.train.whole))
        self.model.train()
        with frozen_backbone(self.model) if frozen else nullcontext():
            row |= self.stepper.epoch(self.train, progress)
        self.ranks.broadcast((*self.model.buffers(), *self.shown.buffers()))
        if self.val is not None:
            self.ranks.broadcast_rng(generators(self.val.whole))
            result = evaluate_shards(self.shown, self.val)
            row |= {"val_loss": result.loss, "val_accuracy": result.accuracy, "val_auc": result.auc}
            row |= {f"val_{name}": float(metric(result)) for name, metric in self.metrics.items()}
        row["seconds"] = time.monotonic() - start
        if self.scheduler is not None:
            self.scheduler.step()
        self.history.epochs.append(row)
        return row

    def record(self) -> None:
        """Save the model where this epoch is the best so far, the rows, and last of all the state to go on from."""
        if self.folder is not None and self.ranks.is_main:
            row, best = self.history.epochs[-1], self.folder / "best.safetensors"
            if self.history.best is row:
                save_weights(self.shown, best, metrics={key: value for key, value in row.items() if math.isfinite(value)})
            self.history.to_csv(self.folder / "history.csv")
            self.history.to_json(self.folder / "history.json")
            save_state(self.folder / LAST, self.parts, self.train.whole, self.history.epochs, self.asked, self.device)
        self.ranks.all_reduce(0)

    def go_on(self, state: State | None) -> None:
        """Put the state in place, where there is one, and say so where nothing is left to train.

        Raises:
            ArgumentError: not every rank sees the state.
        """
        if self.ranks.all_reduce(state is not None)[0] not in (0, self.ranks.world_size):
            raise ArgumentError(f"{self.folder} is not the same folder for every rank; pass one that all of them share as out")
        if state is None:
            return
        state.restore(self.parts, self.train.whole, self.device)
        self.history.epochs = state.rows
        if self.complete:
            warnings.warn(f"{self.folder} holds this training, complete; resume=False starts it anew", stacklevel=3)

    @property
    def complete(self) -> bool:
        """Whether all epochs are done, or `patience_epochs` have brought nothing."""
        rows = self.history
        return len(rows.epochs) >= self.asked["epochs"] or rows.stale(self.asked["patience_epochs"])

    def to_the_end(self, callbacks: Iterable[Callback], progress: bool | None) -> None:
        """Train, validate, record and call back, epoch after epoch."""
        show, start = (progress if self.ranks.is_main else False), time.monotonic()
        say(describe_recipe(self.model, self.stepper.optimizer), show)
        while not self.complete:
            epoch, rate = len(self.history.epochs), max(float(group["lr"]) for group in self.stepper.optimizer.param_groups)
            bar = Progress(epoch, self.asked["epochs"], self.train.whole, rate, show, start)
            row = self.epoch(bar, frozen=epoch < self.asked["freeze_epochs"])
            self.record()
            with preserved_rng(self.device):
                for callback in callbacks if self.ranks.is_main else ():
                    callback(self.shown, row)
        if self.stepper.average is not None:
            self.model.load_state_dict(self.shown.state_dict())
