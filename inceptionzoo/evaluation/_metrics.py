"""Metrics of the outputs of a model, by torchmetrics. Accuracies and areas are fractions."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor


def multiclass_metrics(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy and AUC of probabilities (n, num_classes) and labels (n,)."""
    correct = probabilities.argmax(1) == labels
    return {"accuracy": float(correct.double().mean()), "auc": auc(probabilities, labels)}


def auc(probabilities: Tensor, labels: Tensor) -> float:
    """Return the area under the ROC curve.

    With two classes it is the area of class 1. With more it is the mean of the one-vs-rest areas of the classes present in
    `labels`. It is nan if only one class is present.
    """
    from torchmetrics.functional.classification import binary_auroc, multiclass_auroc

    present, num_classes = torch.unique(labels), probabilities.shape[1]
    if len(present) < 2:
        return math.nan
    if num_classes == 2:
        return float(binary_auroc(probabilities[:, 1], labels))
    with warnings.catch_warnings():  # absent classes are left out of the mean
        warnings.filterwarnings("ignore", message="No positive samples in targets")
        areas = multiclass_auroc(probabilities, labels, num_classes, average=None)
    return float(areas[present].mean())


def multilabel_metrics(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the fraction of labels that are right at a threshold of 0.5, and the mean AUC; both arguments are (n, labels)."""
    areas = multilabel_auc(probabilities, labels)
    known = areas[~areas.isnan()]
    accuracy = float(((probabilities > 0.5) == (labels == 1)).double().mean())
    return {"accuracy": accuracy, "auc": float(known.mean()) if len(known) else math.nan}


def multilabel_auc(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the AUC of each label, (labels,); nan for a label that all images have or none has."""
    from torchmetrics.functional.classification import binary_auroc

    both = (labels == 1).any(0) & (labels == 0).any(0)
    areas = [
        binary_auroc(probabilities[:, index], labels[:, index]) if both[index] else torch.tensor(math.nan)
        for index in range(labels.shape[1])
    ]
    return torch.stack(areas).float()


def multilabel_average_precision(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the average precision of each label, (labels,); nan for a label that no image has."""
    from torchmetrics.functional.classification import binary_average_precision

    present = (labels == 1).any(0)
    values = [
        binary_average_precision(probabilities[:, index], labels[:, index]) if present[index] else torch.tensor(math.nan)
        for index in range(labels.shape[1])
    ]
    return torch.stack(values).float()


def regression_metrics(values: Tensor, targets: Tensor) -> dict[str, float]:
    """Return mean absolute error, root mean squared error and R2, the mean over the outputs; both arguments are (n, outputs).

    R2 needs two images, and is nan for one.
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
