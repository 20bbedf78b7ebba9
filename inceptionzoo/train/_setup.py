"""Build a trainer from the arguments of `fit`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, cast

import torch

from ..errors import ArgumentError
from ..evaluation import DistributedContext, ShardedLoader, loss_dtype, make_loss, seed_everything, weights_of_classes
from ..nn import to_channels_last, warn_if_emulated
from ._average import MovingAverage
from ._config import FitConfig
from ._fused import use_fused
from ._history import History
from ._losses import AUTOCAST_DTYPES, Losses
from ._memory_format import match_memory_format
from ._recipe import make_grad_scaler, recipe
from ._resume import resume
from ._schedule import Schedule, metric_column
from ._state import LAST, read_state
from ._step import Stepper
from ._task_options import copy_class_names
from ._trainer import Trainer


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
    train = ShardedLoader(config.train, context, config.unpack)
    val = None if config.val is None else ShardedLoader(config.val, context, config.unpack)
    state = read_state(folder / LAST, fingerprint) if folder is not None and config.resumes else None
    if context.is_main:
        device = config.target_device or next(model.parameters()).device
        warn_if_emulated(config.precision, device, stacklevel=4)  # the call of fit
    if folder is not None:
        _make_folder(folder)
    if config.seed is not None:
        seed_everything(config.seed)
    model.to(device=config.target_device)
    if config.channels_last:
        to_channels_last(model)
    context.broadcast((*model.parameters(), *model.buffers()))
    model.task = config.resolved_task.name
    copy_class_names(model, config.train, config.resolved_task)
    trainer = Trainer(config, fingerprint, make_stepper(config, compiled), train, val, History(cast("str", config.monitor)))
    resume(trainer, state)
    match_memory_format(trainer.stepper.optimizer)
    return trainer


def _make_folder(folder: Path) -> None:
    """Create the folder `out`, and check that files can be made in it: otherwise the first epoch would be lost.

    Raises:
        ArgumentError: it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"out={str(folder)!r} must be a folder that can be written to: {error.strerror}; pass another path"
        raise ArgumentError(text) from error


def make_stepper(config: FitConfig, compiled: Any) -> Stepper:
    """Build the loss, the optimizer, the schedule, the gradient scaler and the average of a training."""
    model, task, optimizer, scheduler = config.model, config.resolved_task, config.own_optimizer, config.scheduler
    parameter = next(model.parameters())
    if optimizer is None:
        optimizer, scheduler = recipe(model, config.epochs, **config.recipe_options)
        if parameter.device.type == "cpu":
            use_fused(optimizer)
    weight = None
    if config.class_weights is not None:
        dtype = loss_dtype(parameter.dtype)
        weight = torch.as_tensor(config.class_weights).to(parameter.device, dtype)
    criterion = make_loss(task, config.loss, weight=weight, label_smoothing=config.label_smoothing)
    losses = Losses(model, criterion, AUTOCAST_DTYPES[config.precision], compiled)
    losses.to(device=parameter.device)
    schedule = None
    if scheduler is not None:
        column = metric_column(scheduler, cast("str", config.monitor), has_val=config.val is not None)
        schedule = Schedule(scheduler, config.scheduler_step, column)
    return Stepper(
        losses,
        task,
        optimizer,
        config.accumulate,
        make_grad_scaler(model, config.precision),
        weights_of_classes(config.loss) if weight is None else weight,
        None if config.ema is None else MovingAverage(model, config.ema),
        schedule,
        config.clip_grad_norm,
    )
