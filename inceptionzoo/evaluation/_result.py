"""The result of an evaluation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ArgumentError, check_number, check_path
from ..nn import CLASS_TASKS
from ._curves import average_precision, calibration_bins, precision_recall_curve, roc_curve
from ._metrics import multilabel_auc, multilabel_average_precision
from ._plots import save_calibration, save_confusion, save_precision_recall, save_roc


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Result:
    """The result of a model on n labelled images. The tensors are on the CPU, in the order of the loader.

    `outputs` and `targets` depend on the `task`. For "multiclass" and "binary" they are probabilities (n, num_classes), two
    columns for one logit, and class indices (n,), the largest of soft labels. For "multilabel" they are probabilities and 0 or
    1, each (n, labels); for "regression" they are values, each (n, outputs). `loss` is the mean over the images, by default of
    the task's loss. `metrics` has accuracy and auc, or mae, rmse and r2 for regression; all are nan if no image counts
    or an output is not finite. `class_names` are "0", "1", ... if the model has none.

    Raises:
        ArgumentError: an attribute is read that the task does not have.
    """

    outputs: Tensor
    targets: Tensor
    loss: float
    metrics: Mapping[str, float]
    class_names: tuple[str, ...]
    task: str = "multiclass"
    _scores: Tensor | None = None  # in the order of `outputs`, without their rounding

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in {"loss": self.loss, **self.metrics}.items())
        return f"Result({self.task}, {len(self.targets)} images, {self.outputs.shape[1]} columns: {numbers})"

    @property
    def accuracy(self) -> float:
        """Fraction of images whose class is right; for "multilabel", of labels, with a threshold of 0.5."""
        return self._metric("accuracy")

    @property
    def auc(self) -> float:
        """Area under the ROC curve, as a fraction; nan if only one class is present.

        With two classes it is the area of class 1, with more the mean of the one-vs-rest areas of the classes present. For
        "multilabel" it is the mean over the labels that some images have and some have not.
        """
        return self._metric("auc")

    @property
    def mae(self) -> float:
        """Mean absolute error over all values, of "regression"."""
        return self._metric("mae")

    @property
    def rmse(self) -> float:
        """Root mean squared error over all values, of "regression"."""
        return self._metric("rmse")

    @property
    def r2(self) -> float:
        """Coefficient of determination, of "regression": the mean over the outputs; nan for a single image."""
        return self._metric("r2")

    @property
    def mean_average_precision(self) -> float:
        """Mean average precision of "multilabel": the mean over the labels that an image has; nan if there is none."""
        values = self.label_average_precision
        return float(values[~values.isnan()].mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes present in the targets."""
        self._check_task("balanced_accuracy", *CLASS_TASKS)
        if not self._has_metrics:
            return math.nan
        counts = self.confusion
        present = counts.sum(1) > 0
        return float((counts.diagonal()[present].double() / counts.sum(1)[present]).mean())

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean |confidence - accuracy| of 15 bins, weighted by their images. 0 is perfect."""
        self._check_task("calibration_error", *CLASS_TASKS)
        if not self._has_metrics:
            return math.nan
        return sum(count * abs(mean - accuracy) for mean, accuracy, count in self._calibration_bins) / len(self.targets)

    def sensitivity(self, specificity: float = 0.9) -> float:
        """Return the highest sensitivity (recall of class 1) at which the specificity is at least `specificity`.

        Both are fractions. The result is nan if fewer than two classes are present, or an output is not finite.

        Raises:
            ArgumentError: the model does not have two classes, or `specificity` lies outside 0..1.
        """
        check_number("specificity", specificity)
        if specificity > 1:
            raise ArgumentError(f"specificity={specificity!r} must be a number from 0 to 1")
        self._check_task("sensitivity", *CLASS_TASKS)
        if self.outputs.shape[1] != 2:
            raise ArgumentError(f"sensitivity: the model has {self.outputs.shape[1]} classes and must have two")
        if not self._has_metrics:
            return math.nan
        ((false, true, _),) = self.roc
        sensitivities = true[false <= 1 - specificity + 1e-6]
        return float(sensitivities.max()) if len(sensitivities) else math.nan

    @property
    def probabilities(self) -> Tensor:
        """Probabilities (n, num_classes), with two columns for one logit, or (n, labels)."""
        self._check_task("probabilities", *CLASS_TASKS, "multilabel")
        return self.outputs

    @property
    def confusion(self) -> Tensor:
        """Confusion matrix of image counts, (num_classes, num_classes): rows are true classes, columns are predictions."""
        from torchmetrics.functional import confusion_matrix

        self._check_task("confusion", *CLASS_TASKS)
        self._check_finite("confusion")
        classes = self.outputs.shape[1]
        return confusion_matrix(self._predictions, self.targets, task="multiclass", num_classes=classes)

    @property
    def label_auc(self) -> Tensor:
        """AUC of each label of "multilabel", (labels,); nan for a label that all images have or none has."""
        self._check_task("label_auc", "multilabel")
        return self._by_label(multilabel_auc)

    @property
    def label_average_precision(self) -> Tensor:
        """Average precision of each label of "multilabel", (labels,); nan for a label that no image has."""
        self._check_task("label_average_precision", "multilabel")
        return self._by_label(multilabel_average_precision)

    @property
    def roc(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """ROC curves, each (false positive rate, true positive rate, threshold).

        With two classes there is one curve, that of class 1; with more, or labels, there is one for each. The true positive
        rate is nan if the class has no image, and the false positive rate is nan if no other class has one.
        """
        self._check_curve("roc", *CLASS_TASKS, "multilabel")
        columns = [(index, self._order[:, index], self.outputs[:, index]) for index in self._curve_columns]
        return [roc_curve(scores, self._positive(index), probabilities) for index, scores, probabilities in columns]

    def plot_roc(self, path: str | os.PathLike[str]) -> None:
        """Plot the ROC curves and save the image.

        Raises:
            ArgumentError: only one class is present, so that there is no curve.
        """
        target = self._check_curve_path("plot_roc", path)
        curves = [
            (self.class_names[index], false, true, float(torch.trapezoid(true, false)))
            for index, (false, true, _) in zip(self._curve_columns, self.roc, strict=True)
            if true.isfinite().all() and false.isfinite().all()
        ]
        save_roc(curves, target)

    def plot_precision_recall(self, path: str | os.PathLike[str]) -> None:
        """Plot precision against recall, of class 1 if there are two classes, otherwise of every class, and save the image.

        Raises:
            ArgumentError: only one class is present, so that there is no curve.
        """
        target = self._check_curve_path("plot_precision_recall", path)
        curves = []
        for index in self._curve_columns:
            positive = self._positive(index)
            if positive.any():
                recall, precision = precision_recall_curve(self._order[:, index], positive)
                area = average_precision(self._order[:, index], positive)
                curves.append((self.class_names[index], recall, precision, area))
        save_precision_recall(curves, target)

    def plot_calibration(self, path: str | os.PathLike[str]) -> None:
        """Plot accuracy against mean confidence for the 15 bins of `calibration_error`, and save the image."""
        self._check_curve("plot_calibration", *CLASS_TASKS)
        save_calibration(self._calibration_bins, self.calibration_error, check_path("path", path))

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Plot the confusion matrix and save the image."""
        save_confusion(self.confusion, self.class_names, check_path("path", path))

    @property
    def _width(self) -> int:
        return self.outputs.shape[1]

    @property
    def _order(self) -> Tensor:
        """Numbers in the order of `outputs`: the scores, or `outputs` in a result that was made without scores."""
        return self.outputs if self._scores is None else self._scores

    @property
    def _predictions(self) -> Tensor:
        return self._order.argmax(1)

    @property
    def _calibration_bins(self) -> list[tuple[float, float, int]]:
        return calibration_bins(self.outputs.amax(1), self._predictions == self.targets)

    def _by_label(self, measure: Callable[[Tensor, Tensor], list[float]]) -> Tensor:
        values = measure(self._order, self.targets) if self._has_metrics else [math.nan] * self._width
        return torch.tensor(values, dtype=torch.float32)

    @property
    def _has_metrics(self) -> bool:
        """Whether there is an image, and all outputs are finite."""
        return bool(len(self.outputs) and self.outputs.isfinite().all())

    @property
    def _curve_columns(self) -> range:
        """The columns that have a curve: class 1 if there are two classes, otherwise all."""
        return range(1, 2) if self._width == 2 and self.task in CLASS_TASKS else range(self._width)

    def _positive(self, index: int) -> Tensor:
        """Return which images have class or label `index`, (n,)."""
        return self.targets[:, index] == 1 if self.task == "multilabel" else self.targets == index

    def _metric(self, name: str) -> float:
        if name not in self.metrics:
            raise ArgumentError(f"{name}: a result of task={self.task!r} has {', '.join(['loss', *self.metrics])}")
        return self.metrics[name]

    def _check_task(self, name: str, *tasks: str) -> None:
        if self.task not in tasks:
            raise ArgumentError(f"{name} is for {', '.join(tasks)}; the task of this result is {self.task!r}")

    def _check_finite(self, name: str) -> None:
        if wrong := int((~self.outputs.isfinite()).any(1).sum()):
            raise ArgumentError(
                f"{name}: the outputs of {wrong} of {len(self.outputs)} images are not finite; check these images"
            )

    def _check_curve(self, name: str, *tasks: str) -> None:
        self._check_task(name, *tasks)
        self._check_finite(name)
        if not len(self.targets):
            raise ArgumentError(f"{name}: the result has no image; the loss ignores the target of each, so there is no curve")

    def _check_curve_path(self, name: str, path: str | os.PathLike[str]) -> Path:
        self._check_curve(name, *CLASS_TASKS, "multilabel")
        if math.isnan(self.auc):
            what = "no label has images with it and without it" if self.task == "multilabel" else "only one class is present"
            raise ArgumentError(f"{name}: {what} in the targets; there is no curve to draw")
        return check_path("path", path)
