"""The arguments of `fit`, validated in one place, and the fingerprint that a resumed training must match."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ArgumentError, check_choice, check_flag, check_int, check_path, check_rate
from ..evaluation import (
    Batches,
    Loss,
    Task,
    Unpack,
    check_loss,
    check_unpack,
    length_or_none,
    make_task,
)
from ..nn import TASKS, Net, check_device, default_accelerator, default_task
from ..weights import describe_model
from ._callbacks import Callback, check_callbacks
from ._checks import check_batches, check_model, check_passes, check_values
from ._fingerprint import added_fingerprint, loader_fingerprint, loss_name, model_fingerprint, optimizer_fingerprint
from ._losses import AUTOCAST_DTYPES
from ._metrics import Metrics, check_metrics, try_metrics
from ._modes import check_freeze_epochs, stages_up_to
from ._optimizer import check_optimizer, check_trainable
from ._recipe import check_recipe
from ._rules import check_positive, rules, unless_none
from ._schedule import Scheduler, Unit, check_scheduler, metric_column
from ._schedule_length import check_length
from ._state import LAST, VAL, check_state_dicts, stateful_objects
from ._task_options import ClassWeights, check_classes, check_loss_options, resolve_monitor, trained_class_names


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitConfig:
    """The validated arguments of `fit`: one field for each of its parameters, documented there.

    Numbers of NumPy become those of Python.

    Raises:
        ArgumentError: an argument lies outside its range, or has no effect because of another. Nothing has changed then.
    """

    model: Net = field(metadata=rules(check_model, fingerprint=model_fingerprint))
    train: Batches = field(metadata=rules(check_batches, fingerprint=loader_fingerprint, key="data"))
    val: Batches | None = field(metadata=rules(unless_none(check_batches), fingerprint=loader_fingerprint))
    epochs: int = field(metadata=rules(partial(check_int, minimum=1)))
    unpack: Unpack | None = field(metadata=rules(lambda _, unpack: check_unpack(unpack), fingerprint=loss_name, default=None))
    lr: float | None = field(metadata=rules(fingerprint=unless_none(float), recipe=True))
    momentum: float | None = field(metadata=rules(fingerprint=unless_none(float), recipe=True))
    weight_decay: float | None = field(metadata=rules(fingerprint=unless_none(float), recipe=True))
    warmup_epochs: int = field(metadata=rules(recipe=True))
    layer_decay: float | None = field(metadata=rules(fingerprint=unless_none(float), recipe=True))
    freeze_epochs: int = field(metadata=rules())
    freeze_up_to: str | None = field(metadata=rules(default=None))
    patience_epochs: int | None = field(metadata=rules(unless_none(partial(check_int, minimum=1))))
    optimizer: Optimizer | Literal["sgd", "adamw"] | None = field(
        metadata=rules(unless_none(check_optimizer), fingerprint=optimizer_fingerprint)
    )
    scheduler: Scheduler | None = field(metadata=rules(fingerprint=optimizer_fingerprint))
    scheduler_step: Unit = field(metadata=rules(partial(check_choice, choices=("epoch", "step")), default="epoch"))
    task: str | None = field(metadata=rules(unless_none(partial(check_choice, choices=TASKS)), fingerprint=None))
    loss: Loss | None = field(metadata=rules(unless_none(check_loss), fingerprint=loss_name))
    accumulate: int = field(metadata=rules(partial(check_int, minimum=1)))
    clip_grad_norm: float | None = field(
        metadata=rules(unless_none(check_positive), fingerprint=unless_none(float), default=None)
    )
    precision: Literal["fp32", "bf16", "fp16"] = field(metadata=rules(partial(check_choice, choices=AUTOCAST_DTYPES)))
    checkpoint: bool = field(metadata=rules(check_flag, fingerprint=None))
    channels_last: bool = field(metadata=rules(check_flag))
    kernels: bool = field(metadata=rules(check_flag, default=True))
    ema: float | None = field(metadata=rules(unless_none(check_rate)))
    label_smoothing: float = field(metadata=rules(check_rate))
    class_weights: ClassWeights | None = field(metadata=rules(fingerprint=unless_none(Tensor.tolist)))
    metrics: Metrics | None = field(
        metadata=rules(unless_none(check_metrics), fingerprint=lambda metrics: sorted(metrics or {}))
    )
    monitor: str | None = field(metadata=rules())
    out: str | os.PathLike[str] | None = field(metadata=rules(unless_none(check_path), fingerprint=None))
    resume: bool | Literal["auto"] = field(
        metadata=rules(partial(check_choice, choices=(True, False, "auto")), fingerprint=None)
    )
    seed: int | None = field(metadata=rules(unless_none(partial(check_int, minimum=-(2**63), maximum=2**64 - 1))))
    device: str | torch.device | None = field(metadata=rules(lambda _, device: check_device(device), fingerprint=None))
    progress: bool | None = field(metadata=rules(unless_none(check_flag), fingerprint=None))
    callbacks: Iterable[Callback] = field(metadata=rules(fingerprint=None))

    def __post_init__(self) -> None:
        for argument in fields(self):
            if isinstance(value := getattr(self, argument.name), numpy.number) and not isinstance(value, float):
                value = value.item()
                object.__setattr__(self, argument.name, value)
            if check := argument.metadata["check"]:
                check(argument.name, value)
        check_recipe(self.epochs, **self.recipe_options)
        check_freeze_epochs(self.model, self.freeze_epochs, self.epochs)
        check_passes(self.epochs, self.train, self.val)
        self._check_steps()
        task = self.resolved_task
        weights = check_loss_options(self.class_weights, self.label_smoothing, self.loss, task)
        object.__setattr__(self, "class_weights", weights)
        check_classes(self.model, self.train, self.val, task)
        monitor = resolve_monitor(self.monitor, self.metrics or {}, task, validates=self.val is not None)
        object.__setattr__(self, "monitor", monitor)
        self._check_schedule(monitor)
        try_metrics(self.metrics or {}, task, trained_class_names(self.model, self.train, task))
        object.__setattr__(self, "callbacks", check_callbacks(self.callbacks))
        self._check_out()
        check_values(self.model)  # last, because the other checks read no tensor

    @property
    def recipe_options(self) -> dict[str, Any]:
        """The arguments of `recipe`, by name; `epochs` is not among them."""
        options = {argument.name: getattr(self, argument.name) for argument in fields(self) if argument.metadata["recipe"]}
        return {**options, "optimizer": None if self.own_optimizer else self.optimizer}

    @property
    def own_optimizer(self) -> Optimizer | None:
        """The optimizer, if the caller has made it."""
        return self.optimizer if isinstance(self.optimizer, Optimizer) else None

    @property
    def resolved_task(self) -> Task:
        """The task: `task`, else that of the loss, else the model's own."""
        model = self.model
        return make_task(self.task, self.loss, own=model.task, num_outputs=model.num_classes)

    @property
    def loaders(self) -> dict[str, Batches]:
        """The loaders, by the beginning of their names in a saved state."""
        return {"": self.train} if self.val is None else {"": self.train, VAL: self.val}

    @property
    def folder(self) -> Path | None:
        """`out` as a path."""
        return None if self.out is None else Path(self.out)

    @property
    def resumes(self) -> bool:
        """Whether the training continues from a state in `out`."""
        return self.folder is not None and self.resume is not False and (self.folder / LAST).is_file()

    @property
    def target_device(self) -> torch.device | None:
        """The device to train on: `device`, by default the accelerator; None if there is neither."""
        device, accelerator = check_device(self.device), default_accelerator()
        if device is None or (accelerator is not None and device.type == accelerator.type and device.index is None):
            return accelerator
        return device

    def fingerprint(self) -> dict[str, Any]:
        """Return the JSON values of every argument that changes the trained weights; the same call gives the same values."""
        first, second, third, *others = fields(self)
        arguments = [*others, first, second, third]  # the long values of model and data last, for error messages
        values = [(argument.metadata, argument.name, getattr(self, argument.name)) for argument in arguments]
        task = self.resolved_task.name
        return {
            **({} if task == default_task(self.model.num_classes) else {"task": task}),
            **{
                rules["key"] or name: rules["fingerprint"](value)
                for rules, name, value in values
                if rules["fingerprint"] and (rules["default"] is ... or value != rules["default"])
            },
            **added_fingerprint(self.model, self.train, self.loss),
        }

    def check_trainable(self) -> None:
        """Check that the optimizer holds what is trainable now: a callback may have changed `requires_grad`.

        Raises:
            ArgumentError: it does not, or it holds other parameters.
        """
        frozen = () if self.freeze_up_to is None else stages_up_to(self.model, self.freeze_up_to).parameters()
        check_trainable(self.model, self.own_optimizer, self.loss, set(frozen))

    def _check_steps(self) -> None:
        if self.own_optimizer is not None:
            for name, value in self.recipe_options.items():
                if value is not None and (name, value) != ("warmup_epochs", 0):
                    raise ArgumentError(f"{name}={value!r} has no effect with an optimizer of your own; set it there")
        self.check_trainable()
        dtype = next(self.model.parameters()).dtype
        if self.precision != "fp32" and dtype is not torch.float32:
            raise ArgumentError(
                f"precision={self.precision!r} needs weights of torch.float32, and these are {dtype}; call model.float()"
            )

    def _check_schedule(self, monitor: str) -> None:
        if self.scheduler is None:
            if self.scheduler_step != "epoch":
                raise ArgumentError(f"scheduler_step={self.scheduler_step!r} has no effect without a scheduler; pass one")
            return
        check_scheduler(self.scheduler, self.own_optimizer, self.scheduler_step)
        metric_column(self.scheduler, monitor, has_val=self.val is not None)
        batches = length_or_none(self.train)
        steps = None if batches is None else self.epochs * -(-batches // self.accumulate)
        check_length(self.scheduler, self.scheduler_step, self.epochs, steps)

    def _check_out(self) -> None:
        if self.folder is None:
            if self.resume is True:
                raise ArgumentError("resume=True needs out, the folder of the training to resume")
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise ArgumentError(f"out={str(self.out)!r} is a file, and must be a folder; pass another path")
        try:
            describe_model(self.model, class_names=None, metrics=None)
        except ArgumentError as error:
            raise ArgumentError(f"out={str(self.out)!r} needs a model that can be saved: {error}") from error
        if self.resume is True and not self.resumes:
            raise ArgumentError(f"resume=True: {self.folder / LAST} does not exist; pass resume='auto' to start without it")
        if self.resumes and isinstance(self.train, Iterator):
            raise ArgumentError("train is an iterator, which cannot be rewound to be resumed; pass a DataLoader or a list")
        check_state_dicts(stateful_objects(self.own_optimizer, self.scheduler, self.loaders, self.loss))
        if getattr(self.train, "persistent_workers", False):
            warnings.warn(
                "train has persistent_workers=True, and out does not hold the random generators of its workers: if the data "
                "set uses them, a resumed training does not have the same bits; pass a loader without persistent workers",
                stacklevel=5,  # the call of fit
            )
