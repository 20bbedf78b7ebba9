"""The training loop over epochs: train, validate, record, call back."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..errors import TrainingError
from ..evaluation import DistributedContext, Loss, OneHotTargets, OwnLoss, Result, ShardedLoader, evaluate_shards
from ..nn import Net
from ..weights import save_weights
from ._callbacks import added_columns
from ._config import FitConfig
from ._finite import check_outputs, check_weights
from ._generators import loader_generators
from ._history import History, Row, describe_nan
from ._kernels import training_kernels
from ._metrics import compute_metric
from ._modes import (
    freeze_backbone,
    freeze_batch_norm,
    freeze_stages,
    gradient_checkpointing,
    parts_in_evaluation,
    set_training_mode,
)
from ._preparation import set_epoch, training_mode, try_first_batch
from ._progress import Progress, print_line
from ._recipe import describe_optimizer, learning_rate
from ._state import LAST, fork_rng, save_state, stateful_objects
from ._step import Stepper


@dataclass(slots=True)
class Trainer:
    """A training: its configuration, the objects that it steps, its sharded loaders and its history."""

    config: FitConfig
    fingerprint: dict[str, Any]
    stepper: Stepper
    train: ShardedLoader
    val: ShardedLoader | None
    history: History
    eval_parts: list[nn.Module] = field(default_factory=list)  # modules that the user put into evaluation mode
    stopped: bool = False  # by a callback
    val_tried: bool = False  # before the first epoch
    metric_error: TrainingError | None = None

    @property
    def context(self) -> DistributedContext:
        """The rank and the world size."""
        return self.train.context

    @property
    def model(self) -> Net:
        """The model that is trained."""
        return self.stepper.losses.model

    @property
    def evaluated_model(self) -> Net:
        """The model that is validated and saved: the average of the weights if there is one."""
        average = self.stepper.average
        return self.model if average is None else average.model

    @property
    def loss_of_val(self) -> Loss | None:
        """The caller's loss for the validation data. If train has soft labels, one that is not torch's gets indices as rows."""
        criterion = self.stepper.losses.criterion
        if not isinstance(criterion, OwnLoss):
            return self.config.loss
        return OneHotTargets(criterion, self.stepper.task.num_outputs) if self.stepper.soft_labels else criterion

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def stateful(self) -> dict[str, Any]:
        """The objects that the next step depends on and that have a state dict, by name."""
        average = self.stepper.average
        objects = {"model": self.model, "scaler": self.stepper.scaler, **({} if average is None else {"average": average})}
        others = stateful_objects(self.stepper.optimizer, self.stepper.schedule, self.config.loaders, self.config.loss)
        return {**objects, **others, "trainer": self}

    @property
    def is_complete(self) -> bool:
        """Whether all epochs are done, a callback has stopped, or the last `patience_epochs` were no better than the best."""
        patience = self.config.patience_epochs
        stopped_early = self.stopped or (patience is not None and self.history.epochs_since_best >= patience)
        return stopped_early or len(self.history.epochs) >= self.config.epochs

    def state_dict(self) -> dict[str, Any]:
        """Return whether train has had soft labels, and the names of the modules in evaluation mode."""
        parts = set(parts_in_evaluation(self.model, self.eval_parts))
        names = [name for name, module in self.model.named_modules() if module in parts]
        return {"soft_labels": self.stepper.soft_labels, "eval_parts": names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. Files of version 0.1 do not have it."""
        self.stepper.soft_labels = state_dict["soft_labels"]
        names = set(state_dict["eval_parts"])
        for name, module in self.model.named_modules():
            module.training = name not in names

    def run(self) -> None:
        """Train, validate, record and call back, epoch after epoch."""
        show, start = (self.config.progress if self.context.is_main else False), time.monotonic()
        optimizer = self.stepper.optimizer
        if not self.is_complete:
            print_line(describe_optimizer(self.model, optimizer), show)
        checkpointing = gradient_checkpointing(self.model, self.config.checkpoint)
        with checkpointing, training_kernels(self.model, self.config.kernels):
            if self.val is not None and not self.is_complete:
                model, task = self.evaluated_model, self.stepper.task
                self.val_tried = try_first_batch(model, self.val, task, self.device)
            while not self.is_complete:
                epoch, lr = len(self.history.epochs), learning_rate(optimizer)
                progress = Progress(epoch, self.config.epochs, self.train.loader, lr, show, start)
                self.history.epochs.append(self.run_epoch(progress))
                progress.close(self.history)
                self.save()
                if self.metric_error is not None:
                    raise self.metric_error
                if text := describe_nan(self.history):
                    warnings.warn(text, stacklevel=3)  # the call of fit
                self.call_back()
                if self.config.callbacks:
                    self.save_records()  # again: a callback may have changed the row, the model or the optimizer
        if self.stepper.average is not None:
            self.model.load_state_dict(self.evaluated_model.state_dict())

    def run_epoch(self, progress: Progress) -> Row:
        """Train for one epoch, validate, step the scheduler, and return the row of the epoch."""
        start = time.monotonic()
        row: Row = {"epoch": progress.epoch, "lr": progress.lr}
        if self.config.own_optimizer is not None:
            self.config.check_trainable()
        set_epoch(self.train.loader, progress.epoch)
        self.context.broadcast_rng(loader_generators(self.train.loader))
        self.eval_parts = set_training_mode(self.model, self.eval_parts)
        only_heads = freeze_backbone(self.model) if progress.epoch < self.config.freeze_epochs else nullcontext()
        frozen_stages = freeze_stages(self.model, self.config.freeze_up_to)
        frozen_norms = freeze_batch_norm(self.model, only_frozen=True)
        with frozen_stages, only_heads, frozen_norms, training_mode(self.stepper.optimizer):
            row |= self.stepper.run_epoch(self.train, progress)
        self.context.broadcast((*self.model.buffers(), *self.evaluated_model.buffers()))
        check_weights(self.evaluated_model, progress)
        if self.val is not None:
            self.context.broadcast_rng(loader_generators(self.val.loader))
            result = self.validate(self.val)
            row |= {"val_loss": result.loss, **{f"val_{name}": value for name, value in result.metrics.items()}}
            row |= self.compute_metrics(result)
        row["seconds"] = time.monotonic() - start
        if self.stepper.schedule is not None:
            self.stepper.schedule.after_epoch(row)
        return row

    def compute_metrics(self, result: Result) -> Row:
        """Return the columns of the user's metrics. A metric that raises an error is nan; `run` raises it after saving."""
        row: Row = {}
        for name, metric in (self.config.metrics or {}).items():
            try:
                row[f"val_{name}"] = compute_metric(name, metric, result, TrainingError)
            except TrainingError as error:
                row[f"val_{name}"], self.metric_error = math.nan, error
        return row

    def validate(self, val: ShardedLoader) -> Result:
        """Return the result of the evaluated model on the validation data, with the loss of the training.

        Raises:
            TrainingError: an output is not finite.
        """
        stacklevel = None if self.history.epochs or self.val_tried else 6  # warn of the images once, at the call of fit
        task, loss = self.stepper.task, self.loss_of_val
        result = evaluate_shards(self.evaluated_model, val, task, loss, "val", stacklevel=stacklevel)
        check_outputs(result, task, len(self.history.epochs))
        return result

    def save(self) -> None:
        """Save the model if this epoch is the best, then the history and the state. Every rank waits for the files."""
        folder = self.config.folder
        if folder is not None and self.context.is_main:
            row = self.history.epochs[-1]
            if self.history.best is row:
                metrics = {key: value for key, value in row.items() if math.isfinite(value)}
                save_weights(self.evaluated_model, folder / "best.safetensors", metrics=metrics)
        self.save_records()
        self.context.all_reduce(0)

    def save_records(self) -> None:
        """Save the history, and last the state that the next epoch depends on."""
        folder = self.config.folder
        if folder is not None and self.context.is_main:
            self.history.to_csv(folder / "history.csv")
            self.history.to_json(folder / "history.json")
            save_state(folder / LAST, self.stateful, self.config.loaders, self.history.epochs, self.fingerprint, self.device)

    def call_back(self) -> None:
        """Call the callbacks on rank 0; they do not change the random generators. Every rank gets its row, and stops with it.

        Raises:
            TrainingError: a callback has written a value to the row that is not a number.
        """
        row = self.history.epochs[-1]
        stopped = False
        with fork_rng(self.device):
            for callback in self.config.callbacks if self.context.is_main else ():
                try:
                    callback(self.evaluated_model, row)
                except StopIteration:
                    stopped = True
        row |= added_columns(row)
        self.stopped, shared = self.context.broadcast_object((stopped, dict(row)))
        row.clear()
        row |= shared
