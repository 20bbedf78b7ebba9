"""Evaluate a model on labelled images."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ArgumentError, check_path, check_rate
from ..place import check_device
from .metrics import EpochMetrics, check_batch, check_batches, unpack
from .plots import save_confusion, save_roc

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Result:
    """How a model did: `probabilities` (n, num_classes) and `targets` (n,) of all images in order, on the CPU.

    `loss` is the mean cross entropy; accuracies and AUC are fractions; `auc` is nan where only one class is present.
    """

    probabilities: Tensor
    targets: Tensor
    loss: float
    accuracy: float
    auc: float
    class_names: tuple[str, ...]

    @property
    def confusion(self) -> Tensor:
        """Counts of images, (num_classes, num_classes): rows are the truth, columns the prediction."""
        from torchmetrics.functional import confusion_matrix

        classes = self.probabilities.shape[1]
        return confusion_matrix(self.probabilities.argmax(1), self.targets, task="multiclass", num_classes=classes)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that are present."""
        counts = self.confusion
        present = counts.sum(1) > 0
        return float((counts.diagonal()[present] / counts.sum(1)[present]).mean())

    @property
    def roc(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """ROC curves (false positive rate, true positive rate, threshold): of class 1 for two classes, else of each.

        A rate is nan where there is nothing to take it of: no image of the class, or none of another.
        """
        classes = range(self.probabilities.shape[1])
        wanted = (1,) if len(classes) == 2 else classes
        return [_curve(self.probabilities[:, index], self.targets == index) for index in wanted]

    @property
    def calibration_error(self) -> float:
        """Mean distance between confidence and accuracy over 15 bins of confidence; 0 is perfect."""
        from torchmetrics.functional import calibration_error

        classes = self.probabilities.shape[1]
        return float(calibration_error(self.probabilities, self.targets, "multiclass", num_classes=classes))

    def sensitivity(self, specificity: float = 0.9) -> float:
        """Return the largest share of class 1 that is found while at least `specificity` of class 0 is left alone.

        It is nan where only one class is present.

        Raises:
            ArgumentError: there are not two classes, or `specificity` lies outside 0..1.
        """
        check_rate("specificity", specificity)
        if self.probabilities.shape[1] != 2:
            raise ArgumentError(f"sensitivity: the model has {self.probabilities.shape[1]} classes and must have two")
        ((false, true, _),) = self.roc
        reached = true[false <= 1 - specificity + 1e-6]
        return float(reached.max()) if len(reached) else math.nan

    def plot_roc(self, path: str | os.PathLike[str]) -> None:
        """Draw the ROC curves and save the picture.

        Raises:
            ArgumentError: only one class is present, so that there is no curve.
        """
        target = check_path("path", path)
        if math.isnan(self.auc):
            raise ArgumentError("plot_roc: only one class is present in the targets; there is no ROC curve to draw")
        names = self.class_names[1:] if len(self.class_names) == 2 else self.class_names
        curves = [
            (name, false, true, float(torch.trapezoid(true, false)))
            for name, (false, true, _) in zip(names, self.roc, strict=True)
            if true.isfinite().all()
        ]
        save_roc(curves, target)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the confusion matrix and save the picture."""
        save_confusion(self.confusion, self.class_names, check_path("path", path))


def _curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from torchmetrics.functional.classification import binary_roc

    with warnings.catch_warnings():  # said by nan instead
        warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
        false, true, thresholds = binary_roc(scores, positive.long())
    none = torch.full_like(true, math.nan)
    return none if positive.all() else false, true if positive.any() else none, thresholds


def evaluate(model: nn.Module, loader: Batches, *, device: str | torch.device | None = None) -> Result:
    """Return the model's result on (images, targets) batches; its mode is as it was after the call.

    The images go to the model's device, or to `device` together with the model.

    Raises:
        ArgumentError: the model is no module, `device` is none, the loader is empty, or a target is no class of the model.
    """
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ArgumentError(
            f"model of type {type(model).__name__} must be a module with parameters, as create_model makes them"
        )
    check_batches("loader", loader)
    place = check_device(device)
    if place is not None:
        model.to(place)
    like = next(model.parameters())
    training = model.training
    model.eval()
    logits, targets = [], []
    try:
        with torch.inference_mode():
            for images, labels in map(unpack, loader):
                logits.append(model(images.to(like.device, like.dtype)).float().cpu())
                targets.append(labels.cpu())
                check_batch(images, targets[-1], logits[-1].shape[1])
    finally:
        model.train(training)
    if not targets:
        raise ArgumentError("evaluate: the loader gave no batch; check the data set and its filters")
    return _result(torch.cat(logits), torch.cat(targets), model)


def _result(logits: Tensor, targets: Tensor, model: nn.Module) -> Result:
    metrics = EpochMetrics(logits.shape[1])
    loss = F.cross_entropy(logits, targets)
    metrics.update(loss, logits, targets)
    names: tuple[str, ...] | None = getattr(model, "class_names", None)
    return Result(logits.softmax(1), targets, **metrics.compute(), class_names=names or tuple(map(str, range(logits.shape[1]))))
