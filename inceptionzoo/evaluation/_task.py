"""What a model's outputs are: for each task the check of its targets, its probabilities and its metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import ArgumentError
from ._metrics import multiclass_metrics, multilabel_metrics, regression_metrics

IGNORED = -1  # the label of an image that does not count
CHUNK = 4096  # images whose scores are computed together
SUM_TOLERANCE = 1e-2  # of the sum of soft labels, which may be in half precision


def loss_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the data type in which the loss of logits or targets of this type is computed: at least torch.float32."""
    return torch.promote_types(dtype, torch.float32)


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a model with `num_outputs` outputs, here "multiclass"; each subclass is another one.

    `assumed` says that neither the caller nor the loss named the task, so that targets that fit another task too are refused.
    A target equal to `ignore_index` does not count. Targets are what a batch holds; labels are what metrics compare with.
    """

    name: ClassVar[str] = "multiclass"
    columns: ClassVar[tuple[str, ...]] = ("accuracy", "auc")  # the metrics
    monitor: ClassVar[str] = "accuracy"  # the column that chooses the best epoch by default

    num_outputs: int
    assumed: bool = False
    ignore_index: int | None = None

    def check(self, targets: Tensor) -> Tensor:
        """Return the targets (n,) as torch.int64, or soft labels (n, num_outputs) as they are.

        Raises:
            ArgumentError: the shape, the dtype or a value is not one of this task.
        """
        if targets.is_floating_point() and targets.shape[1:] == (self.num_outputs,):
            if bool((targets < 0).any()) or not bool(((targets.float().sum(1) - 1).abs() < SUM_TOLERANCE).all()):
                raise self._error(targets, f"rows of at least 0 that sum to 1, to be soft labels of {self.num_outputs} classes")
            return targets
        if targets.ndim != 1 or targets.is_floating_point() or targets.is_complex() or targets.dtype is torch.bool:
            raise self._error(targets, f"(n,) of torch.int64, or soft labels (n, {self.num_outputs}) in floating point")
        counted = targets if self.ignore_index is None else targets[targets != self.ignore_index]
        low, high = (int(counted.min()), int(counted.max())) if len(counted) else (0, 0)
        if low < 0 or high >= self.num_outputs:
            raise ArgumentError(
                f"targets from {low} to {high} must lie in 0..{self.num_outputs - 1}; the model has "
                f"num_classes={self.num_outputs}; to ignore targets of one value, pass "
                "loss=torch.nn.CrossEntropyLoss(ignore_index=VALUE)"
            )
        return targets.long()

    def labels(self, targets: Tensor) -> Tensor:
        """Return class indices (n,); of soft labels the largest, and `IGNORED` for an image that does not count."""
        if targets.is_floating_point():
            return targets.argmax(1)
        return targets if self.ignore_index is None else targets.where(targets != self.ignore_index, IGNORED)

    def count(self, targets: Tensor) -> int:
        """Return the number of images that count."""
        return len(targets) if self.ignore_index is None else int((self.labels(targets) != IGNORED).sum())

    def outputs(self, logits: Tensor) -> Tensor:
        """Return probabilities (n, num_classes); two columns for one logit. The values themselves for regression."""
        return logits.softmax(1)

    def scores(self, logits: Tensor) -> Tensor:
        """Return log(p / (1 - p)) of the probabilities p, in the shape of `outputs`. The values themselves for regression.

        The probabilities of confident answers are all 1 when rounded; their scores differ.
        """
        return torch.cat([_log_odds(part.double()).to(logits.dtype) for part in torch.split(logits, CHUNK)])

    def metrics(self, logits: Tensor, labels: Tensor) -> dict[str, float]:
        """Return the metrics by column; all are nan if there is no image or an output is not finite."""
        if not len(logits) or not bool(self.outputs(logits).isfinite().all()):
            return dict.fromkeys(self.columns, math.nan)
        return self._metrics(self.scores(logits), labels)

    def _metrics(self, scores: Tensor, labels: Tensor) -> dict[str, float]:
        return multiclass_metrics(scores, labels)

    def names(self, class_names: Sequence[str] | None) -> tuple[str, ...]:
        """Return a name for each column of `outputs`; by default "0", "1", ..."""
        return tuple(class_names or map(str, range(self.num_outputs)))

    def answers(self, logits: Tensor, class_names: Sequence[str] | None) -> list[tuple[str, float]]:
        """Return (name, probability) for the logits (num_outputs,) of one image, the most probable first."""
        outputs = self.outputs(logits[None])[0]
        names = self.names(class_names)
        return [(names[index], float(outputs[index])) for index in outputs.argsort(descending=True).tolist()]

    def _error(self, targets: Tensor, constraint: str) -> ArgumentError:
        others = ", ".join(repr(task.name) for task in (Task, Binary, Multilabel, Regression) if task.name != self.name)
        return ArgumentError(
            f"targets of shape {tuple(targets.shape)} and {targets.dtype} must be {constraint}, because "
            f"task={self.name!r}; for another task pass task=, one of {others}"
        )


@dataclass(frozen=True, slots=True)
class Binary(Task):
    """One logit, whose sigmoid is the probability of class 1. Targets (n,) or (n, 1): 0, 1, or between unless `assumed`."""

    name: ClassVar[str] = "binary"

    def check(self, targets: Tensor) -> Tensor:
        if targets.shape not in ((len(targets),), (len(targets), 1)):
            raise self._error(targets, "(n,) or (n, 1)")
        _check_fractions(self, targets, hard=self.assumed)
        return targets

    def labels(self, targets: Tensor) -> Tensor:
        return (targets.reshape(-1) > 0.5).long()

    def outputs(self, logits: Tensor) -> Tensor:
        return self.scores(logits).sigmoid()

    def scores(self, logits: Tensor) -> Tensor:
        return torch.cat((-logits, logits), 1)

    def names(self, class_names: Sequence[str] | None) -> tuple[str, ...]:
        names = tuple(class_names or "01")
        return names if len(names) == 2 else (f"not {names[0]}", *names)


@dataclass(frozen=True, slots=True)
class Multilabel(Task):
    """A logit for each label, whose sigmoid is its probability. Targets (n, num_outputs): 0, 1, or between."""

    name: ClassVar[str] = "multilabel"

    def check(self, targets: Tensor) -> Tensor:
        if targets.shape != (len(targets), self.num_outputs):
            raise self._error(targets, f"(n, {self.num_outputs})")
        _check_fractions(self, targets, hard=False)
        return targets

    def labels(self, targets: Tensor) -> Tensor:
        return (targets > 0.5).long()

    def outputs(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def scores(self, logits: Tensor) -> Tensor:
        return logits

    def _metrics(self, scores: Tensor, labels: Tensor) -> dict[str, float]:
        return multilabel_metrics(scores, labels)


@dataclass(frozen=True, slots=True)
class Regression(Task):
    """Values without an activation. Targets (n, num_outputs), or (n,) for one output; all must be finite."""

    name: ClassVar[str] = "regression"
    columns: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2")
    monitor: ClassVar[str] = "loss"

    def check(self, targets: Tensor) -> Tensor:
        shapes = [(len(targets), self.num_outputs), *([(len(targets),)] if self.num_outputs == 1 else [])]
        if tuple(targets.shape) not in shapes:
            raise self._error(targets, " or ".join("(n,)" if len(one) == 1 else f"(n, {one[1]})" for one in shapes))
        if not bool(targets.isfinite().all()):
            raise ArgumentError(f"targets of shape {tuple(targets.shape)} have a value that is not finite; leave it out")
        return targets

    def labels(self, targets: Tensor) -> Tensor:
        return targets.reshape(len(targets), self.num_outputs).to(loss_dtype(targets.dtype))

    def outputs(self, logits: Tensor) -> Tensor:
        return logits

    def scores(self, logits: Tensor) -> Tensor:
        return logits

    def _metrics(self, scores: Tensor, labels: Tensor) -> dict[str, float]:
        return regression_metrics(scores, labels)

    def answers(self, logits: Tensor, class_names: Sequence[str] | None) -> list[tuple[str, float]]:
        """Return (name, value) for the outputs of one image, in their order."""
        return list(zip(self.names(class_names), logits.tolist(), strict=True))


def _log_odds(logits: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of the softmax p, (n, num_classes)."""
    others = logits.scatter(1, logits.argmax(1, keepdim=True), -math.inf).logsumexp(1, keepdim=True)  # than the largest
    logs = logits.log_softmax(1)
    return torch.where(logs.exp() > 0.5, logits - others, logs - (-logs.exp()).log1p())


def _check_fractions(task: Task, targets: Tensor, *, hard: bool) -> None:
    """Check that the targets are 0 or 1, or also numbers between if not `hard`."""
    inside = (targets == 0) | (targets == 1) if hard or not targets.is_floating_point() else (targets >= 0) & (targets <= 1)
    if not bool(inside.all()):
        constraint = "0 or 1" if hard or not targets.is_floating_point() else "numbers from 0 to 1"
        raise task._error(targets, f"{constraint}, and has {float(targets[~inside][0])}")
