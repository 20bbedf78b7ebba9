"""Loss, accuracy and AUC of one pass over the images."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ._distributed import DistributedContext


def compute_metrics(logits: Tensor, targets: Tensor) -> dict[str, float]:
    """Return accuracy and AUC, as fractions, of logits (n, num_classes) and targets (n,)."""
    correct = logits.argmax(1) == targets
    return {"accuracy": float(correct.double().mean()), "auc": auc(logits.softmax(1), targets)}


def auc(probabilities: Tensor, targets: Tensor) -> float:
    """Return the area under the ROC curve, as a fraction.

    With two classes it is the area of class 1. With more it is the mean of the one-vs-rest areas of the classes present in
    `targets`. It is nan if only one class is present.
    """
    from torchmetrics.functional.classification import binary_auroc, multiclass_auroc

    present, num_classes = torch.unique(targets), probabilities.shape[1]
    if len(present) < 2:
        return math.nan
    if num_classes == 2:
        return float(binary_auroc(probabilities[:, 1], targets))
    with warnings.catch_warnings():  # absent classes are left out of the mean
        warnings.filterwarnings("ignore", message="No positive samples in targets")
        areas = multiclass_auroc(probabilities, targets, num_classes, average=None)
    return float(areas[present].mean())


@dataclass(slots=True)
class EpochMetrics:
    """Accumulate logits, targets and losses over the batches of an epoch, and compute its metrics."""

    logits: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    indices: list[Tensor] = field(default_factory=list)
    loss_sum: float = 0.0
    weight_sum: float = 0.0

    def update(self, logits: Tensor, targets: Tensor, indices: Tensor) -> None:
        """Add the first `len(indices)` images of a batch of n: logits (n, num_classes), targets (n,), indices in the epoch."""
        count = len(indices)
        self.logits.append(logits.detach()[:count].float().cpu())
        self.targets.append(targets.detach()[:count].cpu())
        self.indices.append(indices)

    def update_loss(self, loss: float, weight: float) -> None:
        """Add the mean loss of a batch; `weight` is the weight of the batch in the mean over the epoch."""
        self.loss_sum += loss * weight
        self.weight_sum += weight

    def gather(self, context: DistributedContext) -> tuple[Tensor, Tensor]:
        """Return logits (n, num_classes) and targets (n,) of the images of all ranks, in order."""
        indices = torch.cat(self.indices)
        return context.all_gather(torch.cat(self.logits), indices), context.all_gather(torch.cat(self.targets), indices)

    def compute(self, context: DistributedContext) -> dict[str, float]:
        """Return loss, accuracy and AUC over the images of all ranks."""
        loss_sum, weight_sum = context.all_reduce(self.loss_sum, self.weight_sum)
        return {"loss": loss_sum / weight_sum if weight_sum else math.nan, **compute_metrics(*self.gather(context))}
