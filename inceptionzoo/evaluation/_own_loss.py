"""A loss of the caller: which ones are refused, and whether it is a mean over the images."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ArgumentError

CHECKED_IMAGES = 64  # of the first batch
TOLERANCE = 1e-3  # of the mean
MODULES = "torch.nn.modules.loss"  # of torch's own losses
OF_PROBABILITIES = (  # losses that do not take logits, and those that do
    ((nn.NLLLoss, F.nll_loss, nn.KLDivLoss, F.kl_div), "log-probabilities", "torch.nn.CrossEntropyLoss"),
    ((nn.BCELoss, F.binary_cross_entropy), "probabilities", "torch.nn.BCEWithLogitsLoss"),
)


def check_loss(name: str, loss: object) -> None:
    """Check that `loss` is a function, and if it is one of torch that it takes logits and returns a mean.

    Raises:
        ArgumentError: it is not, or it does not.
    """
    if isinstance(loss, type):
        raise ArgumentError(f"{name}={loss.__name__} is a class; pass an object of it: {name}={loss.__name__}()")
    if not callable(loss):
        raise ArgumentError(f"{name}={loss!r} must be a function of (logits, targets), or None for that of the task")
    function = function_of(loss)
    for losses, expected, remedy in OF_PROBABILITIES:
        if type(function) in losses or function in losses:
            raise ArgumentError(f"{name}={_text(function)} takes {expected}, and the model returns logits; use {remedy}")
    reduction = None
    if is_loss_of_torch(function):
        reduction = getattr(function, "reduction", None)
    elif isinstance(loss, partial):
        reduction = loss.keywords.get("reduction")
    if reduction not in (None, "mean"):
        raise ArgumentError(f"{name}={_text(function)} has reduction={reduction!r} and must return a mean: reduction='mean'")


def is_loss_of_torch(loss: object) -> bool:
    """Return whether `loss` is a loss module of torch, not a subclass of one."""
    return type(loss).__module__ == MODULES


def _text(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def function_of(loss: Any) -> Any:
    """Return the loss itself, or the function of a `functools.partial`."""
    return loss.func if isinstance(loss, partial) else loss


def options_of_cross_entropy(loss: Any) -> Mapping[str, Any] | None:
    """Return the options of torch's cross entropy, a module or a function; None for other losses.

    A subclass with a `forward` of its own is another loss.
    """
    function = function_of(loss)
    if function is F.cross_entropy:
        return loss.keywords if isinstance(loss, partial) else {}
    if not isinstance(function, nn.CrossEntropyLoss) or has_own_forward(function):
        return None
    return {"weight": function.weight, "ignore_index": function.ignore_index}


def has_own_forward(loss: object) -> bool:
    """Return whether `loss` is a module that does not compute what a loss of torch computes."""
    return isinstance(loss, nn.Module) and type(loss).forward.__module__ != MODULES


def weights_of_classes(loss: object) -> Tensor | None:
    """Return the class weights of torch's cross entropy, (num_classes,); None if it has none, and for other functions."""
    return (options_of_cross_entropy(loss) or {}).get("weight")


class OwnLoss(nn.Module):
    """A loss of the caller. It warns if the loss of the first batch is not the mean of the losses of its images.

    A copy of a module computes these. A function cannot be copied and may count its calls, so a function is checked only for
    logits (n, 1) and targets (n,), which it could compare as (n, n).
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss
        self._checked = False

    def forward(self, logits: Tensor, targets: Tensor) -> Any:
        value = self.loss(logits, targets)
        is_suspect = isinstance(self.loss, nn.Module) or (logits.shape[1:] == (1,) and targets.ndim == 1)
        if not self._checked and is_suspect and len(logits) > 1 and isinstance(value, Tensor) and value.numel() == 1:
            self._checked = True
            self._check_mean(logits[:CHECKED_IMAGES].detach(), targets[:CHECKED_IMAGES].detach())
        return value

    def _check_mean(self, logits: Tensor, targets: Tensor) -> None:
        try:
            loss = copy.deepcopy(self.loss) if isinstance(self.loss, nn.Module) else self.loss  # it may change itself
            with torch.no_grad(), torch.random.fork_rng(_devices(logits)):
                value = float(loss(logits, targets))
                mean = sum(float(loss(logits[i : i + 1], targets[i : i + 1])) for i in range(len(logits))) / len(logits)
        except Exception:  # a loss that needs several images has no such mean
            return
        if abs(mean - value) > TOLERANCE * max(abs(mean), abs(value)):
            shapes = f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}"
            warnings.warn(
                f"loss is {value:.6g} for a batch of {len(logits)} images, and the mean of the losses of the single images is "
                f"{mean:.6g}. Return the mean over the images; otherwise loss, val_loss and the step depend on the size of the "
                f"batch. A loss that compares element by element must give {shapes} the same shape; otherwise torch compares "
                "each image with every other",
                stacklevel=2,
            )


def _devices(x: Tensor) -> list[torch.device]:
    return [x.device] if x.is_cuda else []


class OneHotTargets(nn.Module):
    """A loss that gets class indices (n,) as rows (n, num_classes) of 0 and 1, the form of soft labels."""

    def __init__(self, loss: Any, num_classes: int) -> None:
        super().__init__()
        self.loss, self.num_classes = loss, num_classes

    def forward(self, logits: Tensor, targets: Tensor) -> Any:
        rows = targets if targets.is_floating_point() else F.one_hot(targets, self.num_classes).to(logits.dtype)
        return self.loss(logits, rows)
