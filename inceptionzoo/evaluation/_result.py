"""The result of an evaluation."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ArgumentError, check_number, check_path
from ._plots import save_calibration, save_confusion, save_precision_recall, save_roc


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a model on n labelled images: `probabilities` (n, num_classes), `targets` (n,) and metrics.

    The tensors are on the CPU, in the order of the loader. `loss` is the mean cross entropy. Accuracies and AUC are fractions.
    `auc` is the area under the ROC curve: of class 1 if there are two classes, otherwise the mean of the one-vs-rest areas of
    the classes present. It is nan if only one class is present. `class_names` are "0", "1", ... if the model has none.
    """

    probabilities: Tensor
    targets: Tensor
    loss: float
    accuracy: float
    auc: float
    class_names: tuple[str, ...]

    @property
    def confusion(self) -> Tensor:
        """Confusion matrix of image counts, (num_classes, num_classes): rows are true classes, columns are predictions."""
        from torchmetrics.functional import confusion_matrix

        classes = self.probabilities.shape[1]
        return confusion_matrix(self.probabilities.argmax(1), self.targets, task="multiclass", num_classes=classes)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes present in the targets."""
        counts = self.confusion
        present = counts.sum(1) > 0
        return float((counts.diagonal()[present].double() / counts.sum(1)[present]).mean())

    @property
    def roc(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """ROC curves, each (false positive rate, true positive rate, threshold).

        With two classes there is one curve, that of class 1; with more there is one for each class. The true positive rate is
        nan if the class has no image, and the false positive rate is nan if no other class has one.
        """
        return [_roc_curve(self.probabilities[:, index], self.targets == index) for index in self._curve_classes]

    @property
    def _curve_classes(self) -> range:
        """The classes that have a curve: class 1 if there are two classes, otherwise every class."""
        classes = self.probabilities.shape[1]
        return range(1, 2) if classes == 2 else range(classes)

    def _check_curve_path(self, name: str, path: str | os.PathLike[str]) -> Path:
        if math.isnan(self.auc):
            raise ArgumentError(f"{name}: only one class is present in the targets; there is no curve to draw")
        return check_path("path", path)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean |confidence - accuracy| of 15 bins, weighted by their images. 0 is perfect."""
        from torchmetrics.functional import calibration_error

        classes = self.probabilities.shape[1]
        return float(calibration_error(self.probabilities, self.targets, "multiclass", num_classes=classes))

    def sensitivity(self, specificity: float = 0.9) -> float:
        """Return the highest sensitivity (recall of class 1) at which the specificity is at least `specificity`.

        Both are fractions. The result is nan if only one class is present.

        Raises:
            ArgumentError: the model does not have two classes, or `specificity` lies outside 0..1.
        """
        check_number("specificity", specificity)
        if specificity > 1:
            raise ArgumentError(f"specificity={specificity!r} must be a number from 0 to 1")
        if self.probabilities.shape[1] != 2:
            raise ArgumentError(f"sensitivity: the model has {self.probabilities.shape[1]} classes and must have two")
        ((false, true, _),) = self.roc
        sensitivities = true[false <= 1 - specificity + 1e-6]
        return float(sensitivities.max()) if len(sensitivities) else math.nan

    def plot_roc(self, path: str | os.PathLike[str]) -> None:
        """Plot the ROC curves and save the image.

        Raises:
            ArgumentError: only one class is present, so that there is no curve.
        """
        target = self._check_curve_path("plot_roc", path)
        curves = [
            (self.class_names[index], false, true, float(torch.trapezoid(true, false)))
            for index, (false, true, _) in zip(self._curve_classes, self.roc, strict=True)
            if true.isfinite().all()
        ]
        save_roc(curves, target)

    def plot_precision_recall(self, path: str | os.PathLike[str]) -> None:
        """Plot precision against recall, of class 1 if there are two classes, otherwise of every class, and save the image.

        Raises:
            ArgumentError: only one class is present, so that there is no curve.
        """
        from torchmetrics.functional.classification import binary_average_precision, binary_precision_recall_curve

        target = self._check_curve_path("plot_precision_recall", path)
        curves = []
        for index in self._curve_classes:
            positive = (self.targets == index).long()
            if positive.any():
                precision, recall, _ = binary_precision_recall_curve(self.probabilities[:, index], positive)
                area = float(binary_average_precision(self.probabilities[:, index], positive))
                curves.append((self.class_names[index], recall, precision, area))
        save_precision_recall(curves, target)

    def plot_calibration(self, path: str | os.PathLike[str]) -> None:
        """Plot accuracy against mean confidence for ten bins of confidence, and save the image."""
        confidence, predictions = self.probabilities.max(1)
        correct = (predictions == self.targets).float()
        bin_of_image = (confidence * 10).long().clamp(max=9)
        masks = [bin_of_image == index for index in range(10) if (bin_of_image == index).any()]
        bins = [(float(confidence[mask].mean()), float(correct[mask].mean()), int(mask.sum())) for mask in masks]
        save_calibration(bins, self.calibration_error, check_path("path", path))

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Plot the confusion matrix and save the image."""
        save_confusion(self.confusion, self.class_names, check_path("path", path))


def _roc_curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from torchmetrics.functional.classification import binary_roc

    with warnings.catch_warnings():  # an undefined rate is nan here, without a warning
        warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
        false, true, thresholds = binary_roc(scores, positive.long())
    undefined = torch.full_like(true, math.nan)
    return undefined if positive.all() else false, true if positive.any() else undefined, thresholds
