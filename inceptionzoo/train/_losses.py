"""A model together with its loss, as one module."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, InputError
from ..evaluation import Loss, check_loss_value, loss_dtype
from ..nn import Net, private_torch, require_net
from ._modes import freeze_batch_norm

AUTOCAST_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def is_single_value(error: InputError, batch_size: int) -> bool:
    """Return whether batch normalisation cannot be trained on a batch because it has one image, whose map has one pixel."""
    return batch_size == 1 and "batch normalisation a single value" in str(error)


class Losses(nn.Module):
    """A model and its loss: images (n, c, h, w) and targets (n, ...) -> logits (n, num_classes) and a mean loss ().

    `criterion(logits, targets)` returns the mean loss; the weighted losses of auxiliary heads are added. `amp` is the
    autocast dtype (None: no autocast). The loss is computed in float32, or in float64 for a model of float64. With
    `counted=False` the loss and all its gradients are 0. `compiled` is called instead of the model: `torch.compile(model)`.

    Raises:
        ArgumentError: `model` is not a model of this library.
    """

    def __init__(self, model: Net, criterion: Loss, amp: torch.dtype | None = None, compiled: nn.Module | None = None) -> None:
        require_net(private_torch.uncompiled(model), "Losses")
        super().__init__()
        self.model, self.criterion, self.amp = model, criterion, amp
        self._call: Callable[[Tensor], Tensor] | None = None
        if compiled is not None:
            self._call = compiled.__call__  # a method, so that the module is not registered twice

    def forward(self, images: Tensor, targets: Tensor, counted: bool = True) -> tuple[Tensor, Tensor]:
        with torch.autocast(images.device.type, self.amp, enabled=self.amp is not None):
            logits, aux_logits = self._run_model(images)
            if not counted:
                of_loss = self.criterion.parameters() if isinstance(self.criterion, nn.Module) else ()
                return logits, sum((tensor.sum() * 0 for tensor in (*aux_logits.values(), *of_loss)), logits.sum() * 0)
            loss = self._criterion(logits, targets)
            for aux in self.model.network.aux if aux_logits else ():
                loss = loss + aux.weight * self._criterion(aux_logits[aux.tap], targets)
        return logits, loss

    def _criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss = check_loss_value(self.criterion(logits.to(loss_dtype(logits.dtype)), targets))
        if logits.requires_grad and not loss.requires_grad:
            raise ArgumentError(
                "loss returned a Tensor without a gradient: compute it from the logits without detach, argmax or a threshold"
            )
        return loss

    def _run_model(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits of the model and of the auxiliary heads; use running statistics if one image is too few."""
        run = self.model.forward_aux if self.model.aux else lambda x: ((self._call or self.model)(x), {})
        try:
            return run(images)
        except InputError as error:
            if not is_single_value(error, len(images)):
                raise
        warnings.warn(
            "a batch of one image gives batch normalisation a single value if a feature map has one pixel: this batch is "
            "trained with the running statistics; drop_last=True leaves such a batch out",
            stacklevel=6,
        )
        checkpointing = self.model.grad_checkpointing
        self.model.set_grad_checkpointing(False)  # recomputing would run in the backward pass, after this block
        try:
            with freeze_batch_norm(self.model):
                return run(images)
        finally:
            self.model.set_grad_checkpointing(checkpointing)
