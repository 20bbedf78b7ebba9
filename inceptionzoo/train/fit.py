"""Train a model: a short loop, its defaults the recipe that the model carries."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..net import Net
from ..weights.save import save_weights
from .evaluate import Batches, evaluate
from .history import History, Row
from .metrics import check_batches
from .progress import Progress
from .setup import (
    Callback,
    Loss,
    check_loss,
    check_memory,
    check_records,
    check_resume,
    check_run,
    check_steps,
    cross_entropy,
    recipe,
)
from .state import LAST, State, check_parts, generators, read_state, save_state
from .step import PRECISIONS, Stepper, average_of, scaler_of


def fit(
    model: Net,
    train: Batches,
    val: Batches | None = None,
    *,
    epochs: int,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    loss: Loss | None = None,
    accumulate: int = 1,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    checkpoint: bool = False,
    channels_last: bool = True,
    ema: float | None = None,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    monitor: str = "accuracy",
    out: str | os.PathLike[str] | None = None,
    resume: bool | Literal["auto"] = "auto",
    seed: int | None = None,
    device: str | torch.device | None = None,
    progress: bool | None = None,
    callbacks: Iterable[Callback] = (),
) -> History:
    """Train the model in place on (images, targets) batches and return a row an epoch.

    None for `lr`, `momentum` and `weight_decay` is the model's own recipe: SGD 0.025, 0.9, 3e-4 unless its registry entry
    says otherwise. The rate steps once an epoch: epoch e, from 0, uses lr / 2 * (1 + cos(pi * e / epochs)). An `optimizer`
    of one's own takes the place of those three, and then a `scheduler`, or none, that of the cosine. The loss is cross
    entropy, with `label_smoothing` and `class_weights` (num_classes,), unless `loss(logits, targets)` is given; auxiliary
    heads (`with_aux`) add theirs, weighted.

    Memory: `accumulate` batches make one step, that of the large batch but for what batch normalisation sees; `precision`
    "bf16" or "fp16" halves the bytes of a map; `checkpoint` keeps fewer maps and computes the others again, exactly.
    `ema` is the decay of an average of the weights, 0.999 for example: it is what is validated, saved as the best, and in
    the model at the end.

    The model ends with the last epoch's weights. `out` is a folder for `best.safetensors`, best by `monitor` (a column of
    the history, of the validation data where there are any), `history.csv`, and `last.safetensors`, from which the same
    call goes on after it was cut short, bit for bit as if it had not been: `resume` "auto" does so where the file is,
    True demands it, False starts anew. `seed` sets torch's generator; the order of images is the loader's own. `device` is
    the accelerator where there is one. `progress` None shows a bar on a terminal only. Each callback gets the model and
    the epoch's row.

    Raises:
        ArgumentError: an argument lies outside its range, or `out` holds another training; nothing has been trained then.
        TrainingError: the loss is not finite, or memory is out; what stands in `out` is as it was.
    """
    check_steps(model, epochs, optimizer, scheduler, lr=lr, momentum=momentum, weight_decay=weight_decay)
    check_batches("train", train)
    check_batches("val", () if val is None else val)
    check_loss(model, loss, label_smoothing, class_weights)
    check_memory(accumulate, precision, ema, checkpoint=checkpoint)
    monitor, folder = check_records(model, monitor, out, validated=val is not None)
    place, callbacks = check_run(device, seed, callbacks, channels_last=channels_last, progress=progress)
    resumed = check_resume(resume, folder, train)
    settings = {
        "model": _described(model), "data": _counted(train), "epochs": epochs, "lr": lr, "momentum": momentum,
        "weight_decay": weight_decay, "optimizer": _stepping(optimizer), "scheduler": _stepping(scheduler),
        "loss": getattr(loss, "__qualname__", repr(loss)), "accumulate": accumulate, "precision": precision,
        "channels_last": channels_last, "ema": ema, "label_smoothing": label_smoothing,
        "class_weights": None if class_weights is None else class_weights.tolist(), "monitor": monitor, "seed": seed,
    }  # fmt: skip
    state = read_state(folder / LAST, settings) if resumed and folder is not None else None
    if seed is not None:
        torch.manual_seed(seed)
    model.to(device=place)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    _take_names(model, train)
    if optimizer is None:
        optimizer, scheduler = recipe(model, epochs, lr=lr, momentum=momentum, weight_decay=weight_decay)
    criterion = cross_entropy(model, loss, label_smoothing, class_weights)
    amp, scaler, average = PRECISIONS[precision], scaler_of(model, precision), average_of(model, ema)
    stepper = Stepper(model, optimizer, criterion, accumulate, amp, scaler, class_weights, average)
    run = Run(stepper, scheduler, History(monitor), folder, settings)
    if folder is not None:
        check_parts(run.parts)
    if state is not None:
        run.go_on(state, train, epochs)
    before = model.grad_checkpointing
    model.set_grad_checkpointing(checkpoint or before)
    try:
        for epoch in range(len(run.history.epochs), epochs):
            rate = float(optimizer.param_groups[0]["lr"])
            row = run.epoch(epoch, train, val, Progress(epoch, epochs, train, rate, progress))
            run.record(train)
            for callback in callbacks:
                callback(run.shown, row)
    finally:
        model.set_grad_checkpointing(before)
    if average is not None:
        model.load_state_dict(run.shown.state_dict())
    return run.history


@dataclass(slots=True)
class Run:
    """A training on its way: what it steps with, its rows so far, and where they are kept."""

    stepper: Stepper
    scheduler: LRScheduler | None
    history: History
    folder: Path | None
    settings: dict[str, Any]

    @property
    def shown(self) -> Net:
        """The model that is validated and saved: the average where there is one."""
        average = self.stepper.average
        shown: Any = self.stepper.model if average is None else average.module
        return cast("Net", shown)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.stepper.model.parameters()).device

    @property
    def parts(self) -> dict[str, Any]:
        """Everything that the next step depends on, by name."""
        step = self.stepper
        parts = {"model": step.model, "optimizer": step.optimizer, "scheduler": self.scheduler, "average": step.average}
        return {"scaler": step.scaler, **{name: part for name, part in parts.items() if part is not None}}

    def epoch(self, epoch: int, train: Batches, val: Batches | None, progress: Progress) -> Row:
        """Train one epoch, validate, and add its row."""
        start = time.monotonic()
        row: Row = {"epoch": epoch, "lr": progress.lr}
        row |= self.stepper.epoch(train, progress)
        if val is not None:
            result = evaluate(self.shown, val)
            row |= {"val_loss": result.loss, "val_accuracy": result.accuracy, "val_auc": result.auc}
        row["seconds"] = time.monotonic() - start
        if self.scheduler is not None:
            self.scheduler.step()
        self.history.epochs.append(row)
        return row

    def record(self, train: Batches) -> None:
        """Save the model where this epoch is the best so far, the rows, and last of all the state to go on from."""
        if self.folder is None:
            return
        row, best = self.history.epochs[-1], self.folder / "best.safetensors"
        if self.history.best is row:
            save_weights(self.shown, best, metrics={key: value for key, value in row.items() if math.isfinite(value)})
        self.history.to_csv(self.folder / "history.csv")
        save_state(self.folder / LAST, self.parts, train, self.history.epochs, self.settings, self.device)

    def go_on(self, state: State, train: Batches, epochs: int) -> None:
        """Put the state in place, and say so where nothing is left to train."""
        state.restore(self.parts, train, self.device)
        self.history.epochs = state.rows
        if len(state.rows) == epochs:
            warnings.warn(f"{self.folder} holds this training, complete; resume=False starts it anew", stacklevel=3)


def _described(model: Net) -> list[Any]:
    """Return what tells a model from another, as plain values."""
    name = model.entry.name if model.entry else None
    head = [model.num_classes, model.in_chans, model.global_pool, model.head.drop.p, sorted(model.aux)]
    return [name, repr(sorted(model.arguments.items())), head, model.data.to_json()]


def _counted(train: Batches) -> list[int | None]:
    """Return how many batches and images there are, where that is known, and random generators of the loader's own."""
    images = getattr(train, "dataset", None)
    counts = [len(part) if isinstance(part, Sized) else None for part in (train, images)]
    return [*counts, len(generators(train))]


def _stepping(part: Optimizer | LRScheduler | None) -> str | None:
    """Return what an optimizer or a schedule of the caller's own starts with."""
    if part is None:
        return None
    state = part.state_dict()
    groups = [{key: value for key, value in group.items() if key != "params"} for group in state.get("param_groups", ())]
    return f"{type(part).__name__} {groups or sorted(state.items())}"


def _take_names(model: Net, train: Batches) -> None:
    """Take the class names of an image folder, where the loader has one and the model has none."""
    classes = getattr(getattr(train, "dataset", None), "classes", None)
    if model.class_names is None and isinstance(classes, list | tuple) and len(classes) == model.num_classes:
        model.set_class_names([str(name) for name in classes])
