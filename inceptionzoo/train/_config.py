"""The arguments of `fit`, validated in one place, and the fingerprint that a resumed training must match."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..errors import ArgumentError, check_choice, check_flag, check_int, check_number, check_path, check_rate
from ..evaluation import Batches, Result, check_loader, length_or_none
from ..nn import Net, check_device, default_accelerator
from ..weights import describe_model
from ._callbacks import Callback
from ._fingerprint import loader_fingerprint, loss_name, model_fingerprint, optimizer_fingerprint
from ._history import COLUMNS
from ._losses import AUTOCAST_DTYPES
from ._recipe import Loss, check_numbers
from ._state import LAST, check_state_dicts, stateful_objects

Metrics = Mapping[str, Callable[[Result], float]]


def _unless_none(function: Callable[..., object]) -> Callable[..., Any]:
    """Return a function that calls `function` unless its last argument is None."""
    return lambda *arguments: None if arguments[-1] is None else function(*arguments)


def _rules(
    check: Callable[[str, Any], object] | None = None,
    *,
    fingerprint: Callable[[Any], object] | None = lambda value: value,
    key: str | None = None,
    recipe: bool = False,
) -> dict[str, Any]:
    """Return the metadata of an argument's field.

    `check(name, value)` raises if the value alone is invalid. `fingerprint(value)` is its JSON value in the fingerprint. An
    argument that does not change the trained weights has `fingerprint=None` and is left out. `key` is its key in the
    fingerprint, by default its name. `recipe` marks an argument that is passed on to `recipe`.
    """
    return {"check": check, "fingerprint": fingerprint, "key": key, "recipe": recipe}


def _check_model(name: str, model: object) -> None:
    if not isinstance(model, Net) or model.num_classes < 2:
        classes = f" with num_classes={model.num_classes}" if isinstance(model, Net) else ""
        raise ArgumentError(
            f"{name} of type {type(model).__name__}{classes} must be a model of create_model with num_classes of at least 2; "
            "see reset_classifier"
        )
    if model.fused:
        raise ArgumentError(f"{name} is fused, which is for evaluation only; train the model that it was made from")


def _check_val(name: str, loader: object) -> None:
    check_loader(name, loader)
    if length_or_none(loader) == 0:
        raise ArgumentError(f"{name} has no batch; pass validation data, or None")


def _check_metrics(name: str, metrics: object) -> None:
    if not isinstance(metrics, Mapping) or not all(isinstance(key, str) and callable(metrics[key]) for key in metrics):
        raise ArgumentError(f"{name}={metrics!r} must be a dict of functions of a Result, such as {{'error': lambda r: ...}}")
    if taken := sorted({f"val_{key}" for key in metrics}.intersection((*COLUMNS, "val_seconds"))):
        raise ArgumentError(
            f"{name}: {taken[0].removeprefix('val_')!r} is a column of the history already; choose another name"
        )


def _check_optimizer(name: str, optimizer: object) -> None:
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"{name}={optimizer!r} must be an optimizer of torch.optim for the model's parameters, or None")


def _check_scheduler(name: str, scheduler: object) -> None:
    if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
        raise ArgumentError(f"{name}={scheduler!r} must be one of torch.optim.lr_scheduler that steps without a metric")


def _check_loss(name: str, loss: object) -> None:
    if not callable(loss):
        raise ArgumentError(f"{name}={loss!r} must be a function of (logits, targets), or None for cross entropy")


def _validation_column(name: str) -> str:
    """Return the validation column of a training column: "-error" becomes "-val_error"."""
    return f"-val_{name[1:]}" if name.startswith("-") else f"val_{name}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitConfig:
    """The validated arguments of `fit`: one field for each of its parameters, documented there.

    Raises:
        ArgumentError: an argument lies outside its range, or has no effect because of another. Nothing has changed then.
    """

    model: Net = field(metadata=_rules(_check_model, fingerprint=model_fingerprint))
    train: Batches = field(metadata=_rules(check_loader, fingerprint=loader_fingerprint, key="data"))
    val: Batches | None = field(metadata=_rules(_unless_none(_check_val), fingerprint=loader_fingerprint))
    epochs: int = field(metadata=_rules(partial(check_int, minimum=1)))
    lr: float | None = field(metadata=_rules(fingerprint=_unless_none(float), recipe=True))
    momentum: float | None = field(metadata=_rules(fingerprint=_unless_none(float), recipe=True))
    weight_decay: float | None = field(metadata=_rules(fingerprint=_unless_none(float), recipe=True))
    warmup_epochs: int = field(metadata=_rules(recipe=True))
    layer_decay: float | None = field(metadata=_rules(fingerprint=_unless_none(float), recipe=True))
    freeze_epochs: int = field(metadata=_rules())
    patience_epochs: int | None = field(metadata=_rules(_unless_none(partial(check_int, minimum=1))))
    optimizer: Optimizer | None = field(metadata=_rules(_unless_none(_check_optimizer), fingerprint=optimizer_fingerprint))
    scheduler: LRScheduler | None = field(metadata=_rules(fingerprint=optimizer_fingerprint))
    loss: Loss | None = field(metadata=_rules(_unless_none(_check_loss), fingerprint=loss_name))
    accumulate: int = field(metadata=_rules(partial(check_int, minimum=1)))
    precision: Literal["fp32", "bf16", "fp16"] = field(metadata=_rules(partial(check_choice, choices=AUTOCAST_DTYPES)))
    checkpoint: bool = field(metadata=_rules(check_flag, fingerprint=None))
    channels_last: bool = field(metadata=_rules(check_flag))
    ema: float | None = field(metadata=_rules(_unless_none(check_rate)))
    label_smoothing: float = field(metadata=_rules(check_rate))
    class_weights: Tensor | None = field(metadata=_rules(fingerprint=_unless_none(Tensor.tolist)))
    metrics: Metrics | None = field(
        metadata=_rules(_unless_none(_check_metrics), fingerprint=lambda metrics: sorted(metrics or {}))
    )
    monitor: str = field(metadata=_rules())
    out: str | os.PathLike[str] | None = field(metadata=_rules(_unless_none(check_path), fingerprint=None))
    resume: bool | Literal["auto"] = field(
        metadata=_rules(partial(check_choice, choices=(True, False, "auto")), fingerprint=None)
    )
    seed: int | None = field(metadata=_rules(_unless_none(partial(check_int, minimum=-(2**63), maximum=2**64 - 1))))
    device: str | torch.device | None = field(metadata=_rules(lambda _, device: check_device(device), fingerprint=None))
    progress: bool | None = field(metadata=_rules(_unless_none(check_flag), fingerprint=None))
    callbacks: Iterable[Callback] = field(metadata=_rules(fingerprint=None))

    def __post_init__(self) -> None:
        for argument in fields(self):
            if check := argument.metadata["check"]:
                check(argument.name, getattr(self, argument.name))
        check_numbers(self.epochs, **self.recipe_options)
        check_int("freeze_epochs", self.freeze_epochs, 0, self.epochs)
        self._check_steps()
        self._check_loss_options()
        object.__setattr__(self, "monitor", self._resolve_monitor())
        object.__setattr__(self, "callbacks", self._resolve_callbacks())
        self._check_out()

    @property
    def recipe_options(self) -> dict[str, Any]:
        """The arguments of `recipe`, by name; `epochs` is not among them."""
        return {argument.name: getattr(self, argument.name) for argument in fields(self) if argument.metadata["recipe"]}

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
        arguments = fields(self)
        return {
            argument.metadata["key"] or argument.name: argument.metadata["fingerprint"](getattr(self, argument.name))
            for argument in (*arguments[3:], *arguments[:3])  # the long values of model and data last, for error messages
            if argument.metadata["fingerprint"]
        }

    def _check_steps(self) -> None:
        if self.optimizer is not None:
            for name, value in self.recipe_options.items():
                if value is not None and (name, value) != ("warmup_epochs", 0):
                    raise ArgumentError(f"{name}={value!r} has no effect with an optimizer of your own; set it there")
        if self.scheduler is not None and self.optimizer is None:
            raise ArgumentError(f"scheduler={self.scheduler!r} needs the optimizer that it steps; pass that too")
        _unless_none(_check_scheduler)("scheduler", self.scheduler)
        dtype = next(self.model.parameters()).dtype
        if self.precision != "fp32" and dtype is not torch.float32:
            raise ArgumentError(
                f"precision={self.precision!r} needs weights of torch.float32, and these are {dtype}; call model.float()"
            )

    def _check_loss_options(self) -> None:
        weights, classes = self.class_weights, self.model.num_classes
        if self.loss is not None and (self.label_smoothing or weights is not None):
            raise ArgumentError("label_smoothing and class_weights have no effect with a loss of your own; build them into it")
        if weights is None:
            return
        if not isinstance(weights, Tensor):
            raise ArgumentError(f"class_weights={weights!r} must be a Tensor, for example torch.ones({classes})")
        shape = tuple(weights.shape)
        if shape != (classes,):
            raise ArgumentError(f"class_weights of shape {shape} must have shape ({classes},), one weight for each class")
        for index, weight in enumerate(weights.tolist()):
            check_number(f"class_weights of shape {shape}: number {index}", weight)

    def _resolve_monitor(self) -> str:
        """Return the column that chooses the best epoch: the validation column if there is validation data."""
        metrics = self.metrics or {}
        if metrics and self.val is None:
            raise ArgumentError(f"metrics={sorted(metrics)} are computed on the validation data; pass val too")
        names = ("loss", "accuracy", "auc", *metrics, *(f"-{name}" for name in metrics))
        if self.val is None:
            check_choice("monitor", self.monitor, names)
            return self.monitor
        check_choice("monitor", self.monitor, (*names, *map(_validation_column, names)))
        return _validation_column(self.monitor) if self.monitor in names else self.monitor

    def _resolve_callbacks(self) -> tuple[Callback, ...]:
        callbacks = tuple(self.callbacks) if isinstance(self.callbacks, Iterable) else (None,)
        if not all(map(callable, callbacks)):
            raise ArgumentError(f"callbacks={self.callbacks!r} must be a list of functions of (model, row)")
        return callbacks

    def _check_out(self) -> None:
        if self.folder is None:
            if self.resume is True:
                raise ArgumentError("resume=True needs out, the folder of the training to resume")
            return
        try:
            describe_model(self.model, class_names=None, metrics=None)
        except ArgumentError as error:
            raise ArgumentError(f"out={str(self.out)!r} needs a model that can be saved: {error}") from error
        if self.resume is True and not self.resumes:
            raise ArgumentError(f"resume=True: {self.folder / LAST} does not exist; pass resume='auto' to start without it")
        if self.resumes and isinstance(self.train, Iterator):
            raise ArgumentError("train is an iterator, which cannot be rewound to be resumed; pass a DataLoader or a list")
        if self.resumes and getattr(self.train, "persistent_workers", False):
            raise ArgumentError(
                "train has persistent_workers=True, whose random state is not saved; pass a loader without them"
            )
        check_state_dicts(stateful_objects(self.optimizer, self.scheduler, self.train))
