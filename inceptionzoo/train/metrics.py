"""Metrics over a whole epoch, from torchmetrics."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError


class EpochMetrics:
    """Loss, accuracy and AUC of everything seen since it was made.

    AUC is of class 1 where there are two classes, else the mean of one class against the others over the classes seen;
    it is nan as long as it is undefined, which is while only one class has been seen.
    """

    def __init__(self, num_classes: int) -> None:
        from torchmetrics import MeanMetric
        from torchmetrics.classification import BinaryAUROC, MulticlassAccuracy, MulticlassAUROC

        self.num_classes = num_classes
        self._loss = MeanMetric()
        self._accuracy = MulticlassAccuracy(num_classes, average="micro")
        self._auc = BinaryAUROC() if num_classes == 2 else MulticlassAUROC(num_classes, average=None)
        self._seen: set[int] = set()

    def update(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Take in a batch: its mean loss, logits (n, num_classes) and targets (n,)."""
        probabilities = logits.detach().float().softmax(1).cpu()
        targets = targets.detach().cpu()
        self._loss.update(loss.detach().float().cpu(), weight=len(targets))
        self._accuracy.update(probabilities, targets)
        self._auc.update(probabilities[:, 1] if self.num_classes == 2 else probabilities, targets)
        self._seen.update(targets.tolist())

    def compute(self) -> dict[str, float]:
        """Return loss, accuracy and auc; accuracy and auc are fractions."""
        return {"loss": float(self._loss.compute()), "accuracy": float(self._accuracy.compute()), "auc": self.auc()}

    def auc(self) -> float:
        """Return the area under the ROC curve so far; nan while it is undefined."""
        if len(self._seen) < 2:
            return math.nan
        with warnings.catch_warnings():  # a class that has not been seen is left out of the mean below
            warnings.filterwarnings("ignore", message="No positive samples in targets")
            areas = self._auc.compute()
        return float(areas if self.num_classes == 2 else areas[sorted(self._seen)].mean())


def check_batches(name: str, batches: object) -> None:
    """Check that `batches` can be read one after the other; what they are is seen when they are read.

    Raises:
        ArgumentError: they cannot.
    """
    readable = hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")
    if not readable or isinstance(batches, str | bytes | Mapping | type):
        raise ArgumentError(f"{name}={batches!r} must be a DataLoader, or a list of (images, targets)")


def unpack(batch: Any) -> tuple[Tensor, Tensor]:
    """Return the images and the targets of a batch.

    Raises:
        ArgumentError: it is another thing than those two tensors.
    """
    try:
        images, targets = batch
    except (TypeError, ValueError):
        images = targets = None
    if not isinstance(images, Tensor) or not isinstance(targets, Tensor):
        raise ArgumentError(f"a batch of type {type(batch).__name__} must be two Tensors, (images, targets)")
    return images, targets


def check_batch(images: Tensor, targets: Tensor, num_classes: int) -> None:
    """Check that images are floating point and targets class numbers.

    Raises:
        ArgumentError: they are not; torch's own message would be about a kernel's index, or none at all.
    """
    if not images.is_floating_point():
        raise ArgumentError(f"images of {images.dtype} must be floating point; prepare them with transforms(model)")
    if targets.ndim != 1 or targets.dtype != torch.int64 or len(targets) != len(images) or not len(targets):
        raise ArgumentError(
            f"targets of shape {tuple(targets.shape)} and {targets.dtype} must be (n,) of torch.int64, one for each of the "
            f"{len(images)} images"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= num_classes:
        raise ArgumentError(
            f"targets from {low} to {high} must lie in 0..{num_classes - 1}; the model has num_classes={num_classes}"
        )
