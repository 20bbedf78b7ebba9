"""The logits, labels and losses of one pass over the images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ._distributed import DistributedContext
from ._task import IGNORED, Task, loss_dtype


@dataclass(slots=True)
class EpochMetrics:
    """Accumulate logits, labels and losses over the batches of an epoch, and compute the metrics of `task`."""

    task: Task
    logits: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)
    indices: list[Tensor] = field(default_factory=list)
    loss_sum: float = 0.0
    weight_sum: float = 0.0

    def update(self, logits: Tensor, targets: Tensor, indices: Tensor) -> None:
        """Add the first `len(indices)` images of a batch of n: logits (n, outputs), targets, and indices in the epoch."""
        count = len(indices)
        self.logits.append(logits.detach()[:count].to(loss_dtype(logits.dtype)).cpu())
        self.labels.append(self.task.labels(targets.detach()[:count]).cpu().clone())  # a loader may use its memory again
        self.indices.append(indices)

    def update_loss(self, loss: float, weight: float) -> None:
        """Add the mean loss of a batch; `weight` is the weight of the batch in the mean over the epoch."""
        self.loss_sum += loss * weight
        self.weight_sum += weight

    def mean_loss(self, context: DistributedContext) -> float:
        """Return the mean loss over the batches of all ranks."""
        loss_sum, weight_sum = context.all_reduce(self.loss_sum, self.weight_sum)
        return loss_sum / weight_sum if weight_sum else math.nan

    def gather(self, context: DistributedContext) -> tuple[Tensor, Tensor]:
        """Return logits (n, outputs) and labels of the images of all ranks that count, in order."""
        indices = torch.cat(self.indices)
        logits = context.all_gather(torch.cat(self.logits), indices)
        labels = context.all_gather(torch.cat(self.labels), indices)
        if self.task.ignore_index is None:
            return logits, labels
        counted = labels != IGNORED
        return logits[counted], labels[counted]

    def compute(self, context: DistributedContext) -> dict[str, float]:
        """Return the loss and the metrics over the images of all ranks."""
        return {"loss": self.mean_loss(context), **self.task.metrics(*self.gather(context))}
