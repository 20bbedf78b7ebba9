"""ROC, precision-recall and calibration curves of one class."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

BINS = 15  # of the calibration error, the default of torchmetrics


def roc_curve(scores: Tensor, positive: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the false positive rate, the true positive rate and the thresholds; a rate without images is nan.

    The order of the scores gives the rates. The thresholds are the probabilities of the images with these scores.
    """
    from torchmetrics.functional.classification import binary_roc

    with warnings.catch_warnings():  # an undefined rate is nan here, without a warning
        warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
        false, true, _ = binary_roc(_ranks(scores), positive.long())
    undefined = torch.full_like(true, math.nan)
    values, index = torch.unique(scores, return_inverse=True)
    ascending = probabilities.new_ones(len(values)).scatter_reduce(0, index, probabilities, "amin")
    thresholds = torch.cat((probabilities.new_ones(1), ascending.flip(0)))
    return undefined if positive.all() else false, true if positive.any() else undefined, thresholds


def precision_recall_curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return recall and precision at each threshold."""
    from torchmetrics.functional.classification import binary_precision_recall_curve

    precision, recall, _ = binary_precision_recall_curve(_ranks(scores), positive.long())
    return recall, precision


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Return the area under the precision-recall curve; nan if no image is positive."""
    from torchmetrics.functional.classification import binary_average_precision

    return float(binary_average_precision(_ranks(scores), positive.long())) if positive.any() else math.nan


def roc_area(scores: Tensor, positive: Tensor) -> float:
    """Return the area under the ROC curve; nan if no image is positive, or all are.

    It is the fraction of pairs of a positive and another image in which the positive one has the higher score.
    """
    count = int(positive.sum())
    if count in (0, len(positive)):
        return math.nan
    _, index, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts.double() - 1) / 2  # from 1; images with equal scores have their mean rank
    pairs = ranks[index[positive]].sum() - count * (count + 1) / 2
    return float(pairs / (count * (len(positive) - count)))


def _ranks(scores: Tensor) -> Tensor:
    """Return fractions in the order of the scores. torchmetrics would apply a sigmoid to scores that are not."""
    index: Tensor = torch.unique(scores, return_inverse=True)[1]
    return index.double() / max(1, len(index))


def calibration_bins(confidence: Tensor, correct: Tensor) -> list[tuple[float, float, int]]:
    """Return (mean confidence, accuracy, number of images) of each of `BINS` equal bins that has an image."""
    index = (confidence * BINS).long().clamp(max=BINS - 1)
    masks = [index == one for one in range(BINS) if (index == one).any()]
    return [(float(confidence[mask].mean()), float(correct[mask].float().mean()), int(mask.sum())) for mask in masks]
