"""The training loop over epochs: train, validate, record, call back."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from ..errors import ArgumentError
from ..evaluation import Batches, DistributedContext, ShardedLoader, evaluate_shards, seed_everything
from ..nn import Net
from ..weights import save_weights
from ._config import FitConfig
from ._history import History, Row
from ._losses import AUTOCAST_DTYPES, Losses
from ._progress import Progress, print_line
from ._recipe import (
    cross_entropy,
    describe_optimizer,
    freeze_backbone,
    freeze_batch_norm,
    gradient_checkpointing,
    make_ema,
    make_grad_scaler,
    recipe,
    set_training_mode,
)
from ._state import LAST, State, fork_rng, loader_generators, read_state, save_state, stateful_objects
from ._step import Stepper


@dataclass(slots=True)
class Trainer:
    """A training: its configuration, the objects that it steps, its sharded loaders and its history."""

    config: FitConfig
    fingerprint: dict[str, Any]
    stepper: Stepper
    scheduler: LRScheduler | None
    train: ShardedLoader
    val: ShardedLoader | None
    history: History
    eval_parts: list[nn.Module] = field(default_factory=list)  # modules that the user put into evaluation mode

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
        module: Any = self.model if average is None else average.module
        return cast("Net", module)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def stateful(self) -> dict[str, Any]:
        """The objects that the next step depends on and that have a state dict, by name."""
        average = self.stepper.average
        objects = {"model": self.model, "scaler": self.stepper.scaler, **({} if average is None else {"average": average})}
        return objects | stateful_objects(self.stepper.optimizer, self.scheduler, self.train.loader)

    @property
    def is_complete(self) -> bool:
        """Whether all epochs are done, or the last `patience_epochs` were no better than the best before them."""
        patience = self.config.patience_epochs
        stopped_early = patience is not None and self.history.epochs_since_best >= patience
        return stopped_early or len(self.history.epochs) >= self.config.epochs

    def resume(self, state: State | None) -> None:
        """Restore the state, if there is one, and warn if the training is complete already.

        Raises:
            ArgumentError: some ranks have a state and some have none.
        """
        if self.context.all_reduce(state is not None)[0] not in (0, self.context.world_size):
            raise ArgumentError(f"out={str(self.config.out)!r} must be a folder that all ranks share, and it is not")
        if state is None:
            return
        state.restore(self.stateful, self.train.loader, self.device)
        self.history.epochs = state.rows
        if self.is_complete:
            text = f"{self.config.out} holds this training, and it is complete; pass resume=False to train again"
            warnings.warn(text, stacklevel=4)  # the call of fit

    def run(self) -> None:
        """Train, validate, record and call back, epoch after epoch."""
        show, start = (self.config.progress if self.context.is_main else False), time.monotonic()
        optimizer = self.stepper.optimizer
        print_line(describe_optimizer(self.model, optimizer), show)
        with gradient_checkpointing(self.model, self.config.checkpoint):
            while not self.is_complete:
                epoch, lr = len(self.history.epochs), max(float(group["lr"]) for group in optimizer.param_groups)
                self.history.epochs.append(
                    self.run_epoch(Progress(epoch, self.config.epochs, self.train.loader, lr, show, start))
                )
                self.save()
                self.call_back()
        if self.stepper.average is not None:
            self.model.load_state_dict(self.evaluated_model.state_dict())

    def run_epoch(self, progress: Progress) -> Row:
        """Train for one epoch, validate, step the scheduler, and return the row of the epoch."""
        start = time.monotonic()
        row: Row = {"epoch": progress.epoch, "lr": progress.lr}
        self.context.broadcast_rng(loader_generators(self.train.loader))
        self.eval_parts = set_training_mode(self.model, self.eval_parts)
        frozen = freeze_backbone(self.model) if progress.epoch < self.config.freeze_epochs else nullcontext()
        with freeze_batch_norm(self.model, only_frozen=True), frozen:
            row |= self.stepper.run_epoch(self.train, progress)
        self.context.broadcast((*self.model.buffers(), *self.evaluated_model.buffers()))
        if self.val is not None:
            self.context.broadcast_rng(loader_generators(self.val.loader))
            result = evaluate_shards(self.evaluated_model, self.val)
            row |= {"val_loss": result.loss, "val_accuracy": result.accuracy, "val_auc": result.auc}
            row |= {f"val_{name}": float(metric(result)) for name, metric in (self.config.metrics or {}).items()}
        row["seconds"] = time.monotonic() - start
        if self.scheduler is not None:
            self.scheduler.step()
        return row

    def save(self) -> None:
        """Save the model if this epoch is the best, then the history, and the state last. Every rank waits for the files."""
        folder = self.config.folder
        if folder is not None and self.context.is_main:
            row = self.history.epochs[-1]
            if self.history.best is row:
                metrics = {key: value for key, value in row.items() if math.isfinite(value)}
                save_weights(self.evaluated_model, folder / "best.safetensors", metrics=metrics)
            self.history.to_csv(folder / "history.csv")
            self.history.to_json(folder / "history.json")
            save_state(folder / LAST, self.stateful, self.train.loader, self.history.epochs, self.fingerprint, self.device)
        self.context.all_reduce(0)

    def call_back(self) -> None:
        """Call the callbacks on rank 0; they do not change the random generators."""
        with fork_rng(self.device):
            for callback in self.config.callbacks if self.context.is_main else ():
                callback(self.evaluated_model, self.history.epochs[-1])


def make_trainer(config: FitConfig, context: DistributedContext) -> Trainer:
    """Build a trainer, and restore its state if the training is resumed.

    Raises:
        ArgumentError: the ranks have different arguments, or `out` holds another training. The model is unchanged then.
        FileError: the state in `out` is damaged.
    """
    fingerprint, folder, model = config.fingerprint(), config.folder, config.model
    context.check_same(fingerprint)
    fingerprint["ranks"] = context.world_size
    train = ShardedLoader(config.train, context)
    val = None if config.val is None else ShardedLoader(config.val, context)
    state = read_state(folder / LAST, fingerprint) if folder is not None and config.resumes else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if config.seed is not None:
        seed_everything(config.seed)
    model.to(device=config.target_device)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    context.broadcast((*model.parameters(), *model.buffers()))
    _copy_class_names(model, config.train)
    optimizer, scheduler = config.optimizer, config.scheduler
    if optimizer is None:
        optimizer, scheduler = recipe(model, config.epochs, **config.recipe_options)
    criterion = cross_entropy(model, config.loss, config.label_smoothing, config.class_weights)
    losses = Losses(model, criterion, AUTOCAST_DTYPES[config.precision])
    losses.to(device=next(model.parameters()).device)
    average, scaler = make_ema(model, config.ema), make_grad_scaler(model, config.precision)
    stepper = Stepper(losses, optimizer, config.accumulate, scaler, config.class_weights, average)
    trainer = Trainer(config, fingerprint, stepper, scheduler, train, val, History(config.monitor))
    trainer.resume(state)
    return trainer


def _copy_class_names(model: Net, train: Batches) -> None:
    """Copy the class names of the loader's data set to the model, if the model has none."""
    classes = getattr(getattr(train, "dataset", None), "classes", None)
    if model.class_names is None and isinstance(classes, list | tuple) and len(classes) == model.num_classes:
        model.set_class_names([str(name) for name in classes])
