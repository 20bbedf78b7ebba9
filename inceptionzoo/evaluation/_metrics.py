"""What one pass over the images has shown: loss, accuracy, AUC."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ._distributed import DistributedContext


def compute_metrics(logits: Tensor, targets: Tensor) -> dict[str, float]:
    """Return accuracy and auc, fractions, of logits (n, num_classes) and targets (n,).

    AUC is of class 1 where there are two classes, else the mean of one class against the others over the classes present;
    it is nan where only one class is.
    """
    right = logits.argmax(1) == targets
    return {"accuracy": float(right.double().mean()), "auc": auc(logits.softmax(1), targets)}


def auc(probabilities: Tensor, targets: Tensor) -> float:
    """Return the area under the ROC curve, as `scores` has it."""
    from torchmetrics.functional.classification import binary_auroc, multiclass_auroc

    present, classes = torch.unique(targets), probabilities.shape[1]
    if len(present) < 2:
        return math.nan
    if classes == 2:
        return float(binary_auroc(probabilities[:, 1], targets))
    with warnings.catch_warnings():  # a class that is not present is left out of the mean
        warnings.filterwarnings("ignore", message="No positive samples in targets")
        areas = multiclass_auroc(probabilities, targets, classes, average=None)
    return float(areas[present].mean())


@dataclass(slots=True)
class EpochMetrics:
    """The images that have gone through a model, and their losses so far."""

    logits: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    places: list[Tensor] = field(default_factory=list)
    loss: float = 0.0
    mass: float = 0.0

    def add(self, logits: Tensor, targets: Tensor, places: Tensor) -> None:
        """Take in a batch: logits (n, num_classes), targets (n,); the first of them stand at `places` among all images."""
        own = len(places)
        self.logits.append(logits.detach()[:own].float().cpu())
        self.targets.append(targets.detach()[:own].cpu())
        self.places.append(places)

    def add_loss(self, loss: float, mass: float) -> None:
        """Take in a batch's mean loss, and what it counts beside another's."""
        self.loss += loss * mass
        self.mass += mass

    def all(self, ranks: DistributedContext) -> tuple[Tensor, Tensor]:
        """Return logits (n, num_classes) and targets (n,) of every rank's images, in order."""
        places = torch.cat(self.places)
        return ranks.all_gather(torch.cat(self.logits), places), ranks.all_gather(torch.cat(self.targets), places)

    def scores(self, ranks: DistributedContext) -> dict[str, float]:
        """Return loss, accuracy and auc over every rank's images."""
        loss, mass = ranks.all_reduce(self.loss, self.mass)
        return {"loss": loss / mass if mass else math.nan, **compute_metrics(*self.all(ranks))}
