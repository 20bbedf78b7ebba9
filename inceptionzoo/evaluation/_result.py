"""How a model did on labelled images."""

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
        return float((counts.diagonal()[present].double() / counts.sum(1)[present]).mean())

    @property
    def roc(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """ROC curves (false positive rate, true positive rate, threshold): of class 1 for two classes, else of each.

        A rate is nan where there is nothing to take it of: no image of the class, or none of another.
        """
        return [_curve(self.probabilities[:, index], self.targets == index) for index in self._scored]

    @property
    def _scored(self) -> range:
        """The classes that have a curve: the second of two, else each."""
        classes = self.probabilities.shape[1]
        return range(1, 2) if classes == 2 else range(classes)

    def _drawable(self, name: str, path: str | os.PathLike[str]) -> Path:
        if math.isnan(self.auc):
            raise ArgumentError(f"{name}: only one class is present in the targets; there is no curve to draw")
        return check_path("path", path)

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
        check_number("specificity", specificity)
        if specificity > 1:
            raise ArgumentError(f"specificity={specificity!r} must be a number from 0 to 1")
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
        target = self._drawable("plot_roc", path)
        curves = [
            (self.class_names[index], false, true, float(torch.trapezoid(true, false)))
            for index, (false, true, _) in zip(self._scored, self.roc, strict=True)
            if true.isfinite().all()
        ]
        save_roc(curves, target)

    def plot_precision_recall(self, path: str | os.PathLike[str]) -> None:
        """Draw precision against recall, of class 1 for two classes, else of each, and save the picture.

        Raises:
            ArgumentError: only one class is present.
        """
        from torchmetrics.functional.classification import binary_average_precision, binary_precision_recall_curve

        target = self._drawable("plot_precision_recall", path)
        curves = []
        for index in self._scored:
            truth = (self.targets == index).long()
            if truth.any():
                precision, recall, _ = binary_precision_recall_curve(self.probabilities[:, index], truth)
                area = float(binary_average_precision(self.probabilities[:, index], truth))
                curves.append((self.class_names[index], recall, precision, area))
        save_precision_recall(curves, target)

    def plot_calibration(self, path: str | os.PathLike[str]) -> None:
        """Draw the accuracy of ten bins of confidence against their mean confidence, and save the picture."""
        confidence, guess = self.probabilities.max(1)
        right = (guess == self.targets).float()
        bins = (confidence * 10).long().clamp(max=9)
        filled = [bins == one for one in range(10) if (bins == one).any()]
        points = [(float(confidence[bin_].mean()), float(right[bin_].mean()), int(bin_.sum())) for bin_ in filled]
        save_calibration(points, self.calibration_error, check_path("path", path))

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
