"""Metrics of the outputs of a model. Accuracies and areas are fractions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._curves import average_precision, roc_area


def multiclass_metrics(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy and AUC of scores (n, num_classes) and labels (n,)."""
    correct = scores.argmax(1) == labels
    return {"accuracy": float(correct.double().mean()), "auc": auc(scores, labels)}


def auc(scores: Tensor, labels: Tensor) -> float:
    """Return the area under the ROC curve.

    With two classes it is the area of class 1. With more it is the mean of the one-vs-rest areas of the classes present in
    `labels`. It is nan if only one class is present.
    """
    classes = [1] if scores.shape[1] == 2 else torch.unique(labels).tolist()
    return _mean([roc_area(scores[:, index], labels == index) for index in classes])


def multilabel_metrics(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the fraction of labels that are right at a probability of 0.5, which is a score of 0, and the mean AUC.

    Both arguments are (n, labels).
    """
    accuracy = float(((scores > 0) == (labels == 1)).double().mean())
    return {"accuracy": accuracy, "auc": _mean(multilabel_auc(scores, labels))}


def multilabel_auc(scores: Tensor, labels: Tensor) -> list[float]:
    """Return the AUC of each label; nan for a label that all images have or none has."""
    return [roc_area(scores[:, index], labels[:, index] == 1) for index in range(labels.shape[1])]


def multilabel_average_precision(scores: Tensor, labels: Tensor) -> list[float]:
    """Return the average precision of each label; nan for a label that no image has."""
    return [average_precision(scores[:, index], labels[:, index] == 1) for index in range(labels.shape[1])]


def _mean(values: list[float]) -> float:
    """Return the mean of the values that are not nan; nan if there is none."""
    return float(torch.tensor(values, dtype=torch.float64).nanmean())


def regression_metrics(values: Tensor, targets: Tensor) -> dict[str, float]:
    """Return mean absolute error and root mean squared error over all values, and R2, the mean over the outputs.

    Both arguments are (n, outputs). R2 needs two images, and is nan for one.
    """
    from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error

    values, targets = values.double().contiguous(), targets.double().contiguous()
    return {
        "mae": float(mean_absolute_error(values, targets)),
        "rmse": float(mean_squared_error(values, targets, squared=False)),
        "r2": _r2(values, targets) if len(values) > 1 else math.nan,
    }


def _r2(values: Tensor, targets: Tensor) -> float:
    """Return the mean of R2 over the outputs. torchmetrics' takes sums of squares below 1e-4 for 0, whatever the unit.

    Of an output whose targets are all equal it is 1 if the values are right, else 0, as in scikit-learn.
    """
    residual, total = (values - targets).square().sum(0), (targets - targets.mean(0)).square().sum(0)
    constant = (targets == targets[0]).all(0)
    return float(torch.where(constant, (residual == 0).double(), 1 - residual / total).mean())
