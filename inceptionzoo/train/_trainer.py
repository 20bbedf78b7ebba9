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

from ..errors import ArgumentError, TrainingError
from ..evaluation import Batches, DistributedContext, Result, ShardedLoader, evaluate_shards, seed_everything
from ..nn import Net, warn_if_emulated
from ..weights import save_weights
from ._average import MovingAverage
from ._config import FitConfig
from ._history import History, Row
from ._losses import AUTOCAST_DTYPES, Losses
from ._metrics import compute_metric
from ._progress import Progress, print_line
from ._recipe import (
    cross_entropy,
    describe_optimizer,
    freeze_backbone,
    freeze_batch_norm,
    freeze_stages,
    gradient_checkpointing,
    make_grad_scaler,
    recipe,
    set_rates,
    set_training_mode,
)
from ._schedule import Schedule, metric_column
from ._state import LAST, State, fork_rng, loader_generators, read_state, save_state, stateful_objects
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
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def stateful(self) -> dict[str, Any]:
        """The objects that the next step depends on and that have a state dict, by name."""
        average = self.stepper.average
        objects = {"model": self.model, "scaler": self.stepper.scaler, **({} if average is None else {"average": average})}
        return objects | stateful_objects(self.stepper.optimizer, self.stepper.schedule, self.train.loader)

    @property
    def is_complete(self) -> bool:
        """Whether all epochs are done, a callback has stopped, or the last `patience_epochs` were no better than the best."""
        patience = self.config.patience_epochs
        stopped_early = self.stopped or (patience is not None and self.history.epochs_since_best >= patience)
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
        if state.epochs != self.config.epochs and not self.is_complete:
            self._change_epochs(state.epochs)
        if self.is_complete:
            text = f"{self.config.out} holds this training, and it is complete; pass resume=False to train again"
            warnings.warn(text, stacklevel=4)  # the call of fit

    def _change_epochs(self, before: int) -> None:
        """Continue a training that was to have another number of epochs, and warn about it."""
        text = f"{self.config.out} holds {len(self.history.epochs)} epochs of a training with epochs={before}; it continues to "
        text += f"epochs={self.config.epochs}"
        if self.config.optimizer is None and self.stepper.schedule is not None:
            set_rates(self.stepper.schedule.scheduler)
            text += ", with the learning rates of the cosine for that number"
        warnings.warn(f"{text}; pass resume=False to start again", stacklevel=5)  # the call of fit

    def run(self) -> None:
        """Train, validate, record and call back, epoch after epoch."""
        show, start = (self.config.progress if self.context.is_main else False), time.monotonic()
        optimizer = self.stepper.optimizer
        print_line(describe_optimizer(self.model, optimizer), show)
        with gradient_checkpointing(self.model, self.config.checkpoint):
            while not self.is_complete:
                epoch, lr = len(self.history.epochs), max(float(group["lr"]) for group in optimizer.param_groups)
                progress = Progress(epoch, self.config.epochs, self.train.loader, lr, show, start)
                self.history.epochs.append(self.run_epoch(progress))
                progress.close(self.history)
                self.save()
                if self.metric_error is not None:
                    raise self.metric_error
                self.call_back()
        if self.stepper.average is not None:
            self.model.load_state_dict(self.evaluated_model.state_dict())

    def run_epoch(self, progress: Progress) -> Row:
        """Train for one epoch, validate, step the scheduler, and return the row of the epoch."""
        start = time.monotonic()
        row: Row = {"epoch": progress.epoch, "lr": progress.lr}
        self.context.broadcast_rng(loader_generators(self.train.loader))
        self.eval_parts = set_training_mode(self.model, self.eval_parts)
        only_heads = freeze_backbone(self.model) if progress.epoch < self.config.freeze_epochs else nullcontext()
        frozen_stages = freeze_stages(self.model, self.config.freeze_up_to)
        with frozen_stages, only_heads, freeze_batch_norm(self.model, only_frozen=True):
            row |= self.stepper.run_epoch(self.train, progress)
        self.context.broadcast((*self.model.buffers(), *self.evaluated_model.buffers()))
        if self.val is not None:
            self.context.broadcast_rng(loader_generators(self.val.loader))
            result = evaluate_shards(self.evaluated_model, self.val)
            row |= {"val_loss": result.loss, "val_accuracy": result.accuracy, "val_auc": result.auc}
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
        """Call the callbacks on rank 0; they do not change the random generators. StopIteration stops every rank."""
        stops = 0
        with fork_rng(self.device):
            for callback in self.config.callbacks if self.context.is_main else ():
                try:
                    callback(self.evaluated_model, self.history.epochs[-1])
                except StopIteration:
                    stops += 1
        self.stopped = bool(self.context.all_reduce(stops)[0])


def make_trainer(config: FitConfig, context: DistributedContext, *, compiled: Any = None) -> Trainer:
    """Build a trainer, and restore its state if the training is resumed. `compiled` is the compiled model, if there is one.

    Raises:
        ArgumentError: the ranks have different arguments, or `out` holds another training. The model is unchanged then.
        FileError: the state in `out` is damaged.
    """
    fingerprint, folder, model = config.fingerprint(), config.folder, config.model
    if compiled is not None and model.aux:
        raise ArgumentError("model is compiled, and torch.compile leaves out its auxiliary heads; pass the model itself")
    context.check_same(fingerprint)
    fingerprint["ranks"] = context.world_size
    train = ShardedLoader(config.train, context)
    val = None if config.val is None else ShardedLoader(config.val, context)
    state = read_state(folder / LAST, fingerprint) if folder is not None and config.resumes else None
    if context.is_main:
        device = config.target_device or next(model.parameters()).device
        warn_if_emulated(config.precision, device, stacklevel=4)  # the call of fit
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if config.seed is not None:
        seed_everything(config.seed)
    model.to(device=config.target_device)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    context.broadcast((*model.parameters(), *model.buffers()))
    _copy_class_names(model, config.train)
    trainer = Trainer(config, fingerprint, make_stepper(config, compiled), train, val, History(config.monitor))
    trainer.resume(state)
    return trainer


def make_stepper(config: FitConfig, compiled: Any) -> Stepper:
    """Build the loss, the optimizer, the schedule, the gradient scaler and the average of a training."""
    model, optimizer, scheduler = config.model, config.optimizer, config.scheduler
    if optimizer is None:
        optimizer, scheduler = recipe(model, config.epochs, **config.recipe_options)
    criterion = cross_entropy(model, config.loss, config.label_smoothing, config.class_weights)
    losses = Losses(model, criterion, AUTOCAST_DTYPES[config.precision], compiled)
    losses.to(device=next(model.parameters()).device)
    schedule = None
    if scheduler is not None:
        column = metric_column(scheduler, config.monitor, has_val=config.val is not None)
        schedule = Schedule(scheduler, config.scheduler_step, column)
    return Stepper(
        losses,
        optimizer,
        config.accumulate,
        make_grad_scaler(model, config.precision),
        config.class_weights,
        None if config.ema is None else MovingAverage(model, config.ema),
        schedule,
        config.clip_grad_norm,
    )


def _copy_class_names(model: Net, train: Batches) -> None:
    """Copy the class names of the loader's data set to the model, if the model has none."""
    classes = getattr(getattr(train, "dataset", None), "classes", None)
    if model.class_names is None and isinstance(classes, list | tuple) and len(classes) == model.num_classes:
        model.set_class_names([str(name) for name in classes])
