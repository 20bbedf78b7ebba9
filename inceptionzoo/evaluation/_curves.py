"""ROC, precision-recall and calibration curves of one class."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

BINS = 15  # of the calibration error, the default of torchmetrics


def roc_curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the false positive rate, the true positive rate and the thresholds; a rate without images is nan."""
    from torchmetrics.functional.classification import binary_roc

    with warnings.catch_warnings():  # an undefined rate is nan here, without a warning
        warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
        false, true, thresholds = binary_roc(scores, positive.long())
    undefined = torch.full_like(true, math.nan)
    return undefined if positive.all() else false, true if positive.any() else undefined, thresholds


def precision_recall_curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return recall and precision at each threshold."""
    from torchmetrics.functional.classification import binary_precision_recall_curve

    precision, recall, _ = binary_precision_recall_curve(scores, positive.long())
    return recall, precision


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Return the area under the precision-recall curve."""
    from torchmetrics.functional.classification import binary_average_precision

    return float(binary_average_precision(scores, positive.long()))


def calibration_bins(confidence: Tensor, correct: Tensor) -> list[tuple[float, float, int]]:
    """Return (mean confidence, accuracy, number of images) of each of `BINS` equal bins that has an image."""
    index = (confidence * BINS).long().clamp(max=BINS - 1)
    masks = [index == one for one in range(BINS) if (index == one).any()]
    return [(float(confidence[mask].mean()), float(correct[mask].float().mean()), int(mask.sum())) for mask in masks]
