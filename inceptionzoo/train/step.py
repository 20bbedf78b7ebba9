"""One pass over the images: batches, their losses, the optimizer's steps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import ArgumentError, InputError, TrainingError
from ..net import Net
from .history import Row
from .metrics import EpochMetrics, check_batch, unpack
from .progress import Progress
from .setup import Loss

Batch = tuple[Tensor, Tensor]
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(slots=True)
class Stepper:
    """What a step is made of: `accumulate` batches a step, in the precision of `amp`, an average of the weights after it."""

    model: Net
    optimizer: Optimizer
    criterion: Loss
    accumulate: int
    amp: torch.dtype | None
    scaler: torch.amp.GradScaler
    class_weights: Tensor | None
    average: AveragedModel | None

    def epoch(self, batches: Iterable[Any], progress: Progress) -> Row:
        """Train on every batch once and return loss, accuracy and AUC over all of them.

        Raises:
            TrainingError: a loss is not finite, or memory is out.
            ArgumentError: there is no batch, or one is none of images and targets.
        """
        metrics, step = EpochMetrics(self.model.num_classes), 0
        self.model.train()
        source, layout = iter(progress.over(batches)), torch.preserve_format
        if self.model.is_channels_last:
            layout = torch.channels_last
        while group := [self._placed(batch, layout) for batch in islice(source, self.accumulate)]:
            shares = [self._mass(targets) for _, targets in group]
            self.optimizer.zero_grad(set_to_none=True)
            for batch, share in zip(group, shares, strict=True):
                with _memory_is_told(len(batch[1])):
                    logits, value = self._losses(*batch)
                    self._check_finite(value, step, progress)
                    part = value * (share / sum(shares)) if len(group) > 1 else value
                    self.scaler.scale(part).backward()  # type: ignore[no-untyped-call]  # torch's own
                metrics.update(value, logits, batch[1])
                step += 1
                progress.show(metrics)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.average is not None:
                self.average.update_parameters(self.model)
        progress.close()
        if not step:
            raise ArgumentError(
                f"fit: no batch in epoch {progress.epoch}; a DataLoader with drop_last=True needs a whole batch of images, "
                "and a generator can be read only once: pass a list or a DataLoader"
            )
        return metrics.compute()

    def _mass(self, targets: Tensor) -> float:
        """Return what a batch's mean loss counts beside another's: its images, or the sum of their classes' weights."""
        return len(targets) if self.class_weights is None else float(self.class_weights.to(targets.device)[targets].sum())

    def _placed(self, batch: Any, layout: torch.memory_format) -> Batch:
        images, targets = unpack(batch)
        check_batch(images, targets, self.model.num_classes)
        like = next(self.model.parameters())
        return images.to(like.device, like.dtype, memory_format=layout), targets.to(like.device)

    def _losses(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, and their loss with the auxiliary heads' weighted losses added."""
        with torch.autocast(images.device.type, self.amp, enabled=self.amp is not None):
            logits, taps = self._forward(images)
            total = self.criterion(logits.float() if self.amp else logits, targets)
            for aux in self.model.network.aux if taps else ():
                total = total + aux.weight * self.criterion(taps[aux.tap].float() if self.amp else taps[aux.tap], targets)
        return logits, total

    def _forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        run = self.model.forward_aux if self.model.aux else lambda x: (self.model(x), {})
        try:
            return run(images)
        except InputError as error:
            if len(images) > 1 or "batch normalisation a single value" not in str(error):
                raise
        warnings.warn(
            "a batch of one image leaves batch normalisation nothing to take statistics of where a map has one pixel: it "
            "is trained with the running ones; drop_last=True leaves such a batch out",
            stacklevel=5,
        )
        kept = self.model.grad_checkpointing
        self.model.set_grad_checkpointing(False)  # the second run of a checkpoint would come after this block
        try:
            with running_statistics(self.model):
                return run(images)
        finally:
            self.model.set_grad_checkpointing(kept)

    def _check_finite(self, value: Tensor, step: int, progress: Progress) -> None:
        if not math.isfinite(value.item()):
            raise TrainingError(
                f"the loss is {value.item()} in step {step} of epoch {progress.epoch}, with lr={progress.lr:.3g}; lower lr, "
                "or check this batch for values that are not finite"
            )


@contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Have batch normalisation use its running statistics, and leave them as they are."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    for module in norms:
        module.eval()
    try:
        yield
    finally:
        for module in norms:
            module.train()


@contextmanager
def _memory_is_told(images: int) -> Iterator[None]:
    """Turn an out-of-memory error of torch's into one with remedies."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError of an accelerator is one; the CPU's is a plain one
        if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        half = max(1, images // 2)
        raise TrainingError(
            f"out of memory with a batch of {images}: pass checkpoint=True (a half or less of the maps are kept), "
            f"precision='bf16' (half the bytes), or batches of {half} with accumulate={-(-images // half)} (the same step)"
        ) from error


def average_of(model: Net, decay: float | None) -> AveragedModel | None:
    """Return an exponential moving average of the model's weights and statistics, or None."""
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


def scaler_of(model: Net, precision: str) -> torch.amp.GradScaler:
    """Return what keeps half-precision gradients from vanishing; it does nothing in the other precisions."""
    return torch.amp.GradScaler(next(model.parameters()).device.type, enabled=precision == "fp16")
