"""A model together with its loss."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..nn import Net
from ._recipe import Loss, running_statistics


class Losses(nn.Module):
    """A model with its loss: images (n, c, h, w) and targets (n,) -> logits (n, num_classes) and a mean loss ().

    The losses of auxiliary heads are added, weighted. `amp` is the type in which the model computes; the loss is in float32.
    Images that are not `counted` have a loss of 0, whose gradient is 0 for every parameter.
    """

    def __init__(self, model: Net, criterion: Loss, amp: torch.dtype | None = None) -> None:
        super().__init__()
        self.model, self.criterion, self.amp = model, criterion, amp

    def forward(self, images: Tensor, targets: Tensor, counted: bool = True) -> tuple[Tensor, Tensor]:
        with torch.autocast(images.device.type, self.amp, enabled=self.amp is not None):
            logits, taps = self._logits(images)
            if not counted:
                return logits, sum((tap.sum() * 0 for tap in taps.values()), logits.sum() * 0)
            total = self.criterion(logits.float() if self.amp else logits, targets)
            for aux in self.model.network.aux if taps else ():
                total = total + aux.weight * self.criterion(taps[aux.tap].float() if self.amp else taps[aux.tap], targets)
        return logits, total

    def _logits(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        run = self.model.forward_aux if self.model.aux else lambda x: (self.model(x), {})
        try:
            return run(images)
        except InputError as error:
            if len(images) > 1 or "batch normalisation a single value" not in str(error):
                raise
        warnings.warn(
            "a batch of one image leaves batch normalisation nothing to take statistics of where a map has one pixel: it "
            "is trained with the running ones; drop_last=True leaves such a batch out",
            stacklevel=6,
        )
        kept = self.model.grad_checkpointing
        self.model.set_grad_checkpointing(False)  # the second run of a checkpoint would come after this block
        try:
            with running_statistics(self.model):
                return run(images)
        finally:
            self.model.set_grad_checkpointing(kept)
