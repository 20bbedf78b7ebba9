"""One pass over the images: batches, their losses, the optimizer's steps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from ..errors import ArgumentError, TrainingError
from ..evaluation import DistributedContext, EpochMetrics, Shard, ShardedLoader, check_batch
from ..nn import training_batch_norms
from ._history import Row
from ._losses import Losses
from ._progress import Progress

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(slots=True)
class Stepper:
    """What a step is made of: `accumulate` batches of every rank's part, an average of the weights after it."""

    losses: Losses
    optimizer: Optimizer
    accumulate: int
    scaler: torch.amp.GradScaler
    class_weights: Tensor | None
    average: AveragedModel | None

    def epoch(self, share: ShardedLoader, progress: Progress) -> Row:
        """Train on every batch once and return loss, accuracy and AUC over all of them.

        Raises:
            TrainingError: a loss is not finite, memory is out, or the ranks read different batches.
            ArgumentError: there is no batch, or one is none of images and targets.
        """
        seen, ranks, net = EpochMetrics(), share.ranks, share.ranks.wrap_ddp(self.losses)
        source, steps = map(self._placed, share), 0
        while True:
            group = list(islice(source, self.accumulate))
            if not steps:
                ranks.reseed_per_rank()
                if progress.epoch == 0 and ranks.is_main:
                    _warn_of_few(self.losses.model, group)
            masses = list(map(self._mass, group))
            total = _agreed(ranks, group, masses)
            if not group:
                break
            self.optimizer.zero_grad(set_to_none=True)
            faults = []
            for number, (part, mass) in enumerate(zip(group, masses, strict=True), 1):
                with _memory_is_told(len(part.targets)), nullcontext() if number == len(group) else _alone(net):
                    logits, value = net(part.images, part.targets, mass > 0)
                    scale = mass * ranks.world_size / total if total else 1.0
                    loss = value if scale == 1 else value * scale
                    self.scaler.scale(loss).backward()
                seen.add(logits, part.targets, part.indices)
                if mass:
                    amount = value.item()
                    seen.add_loss(amount, mass)
                    faults += [] if math.isfinite(amount) else [_fault(amount, part, steps, progress)]
                steps += 1
                progress.step(seen)
            if ranks.all_reduce(len(faults))[0]:
                raise TrainingError(faults[0] if faults else "the loss of another rank is not finite; that rank names it")
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.average is not None:
                self.average.update_parameters(self.losses.model)
        if not steps:
            raise ArgumentError(
                f"fit: no batch in epoch {progress.epoch}; a DataLoader with drop_last=True needs a whole batch of images, "
                "and a generator can be read only once: pass a list or a DataLoader"
            )
        progress.close()
        return seen.scores(ranks)

    def _mass(self, part: Shard) -> float:
        """Return what a batch's mean loss counts beside another's: its images, or the sum of their classes' weights."""
        own = len(part.indices)
        if self.class_weights is None:
            return own
        return float(self.class_weights.to(part.targets.device)[part.targets[:own]].sum())

    def _placed(self, part: Shard) -> Shard:
        model = self.losses.model
        check_batch(part.images, part.targets, model.num_classes)
        like = next(model.parameters())
        layout = torch.channels_last if model.is_channels_last else torch.preserve_format
        return Shard(
            part.images.to(like.device, like.dtype, memory_format=layout),
            part.targets.to(like.device),
            part.indices,
            part.checksum,
        )


def _agreed(ranks: DistributedContext, group: list[Shard], masses: list[float]) -> float:
    """Return what all ranks' images of this step count together.

    Raises:
        TrainingError: the ranks read different batches.
    """
    marks = [len(group), sum(part.checksum for part in group)]
    mass, *sums = ranks.all_reduce(sum(masses), *marks)
    if sums != [ranks.world_size * mark for mark in marks]:
        raise TrainingError(
            "the ranks read different batches; give each the loader of a single process, in the same order: fit splits "
            "its batches"
        )
    return mass


def _alone(net: nn.Module) -> AbstractContextManager[None]:
    """Have gradients pile up on this rank until the group's last batch."""
    return net.no_sync() if isinstance(net, DistributedDataParallel) else nullcontext()


def _warn_of_few(model: nn.Module, group: list[Shard]) -> None:
    few = [len(part.targets) for part in group if len(part.targets) <= 2]
    if few and training_batch_norms(model):
        warnings.warn(
            f"batch normalisation takes its statistics of a batch of {few[0]}, too few to say much, and accumulate does not "
            "change that: take larger batches (checkpoint=True and precision='bf16' make room), "
            "create_model(..., norm_layer='groupnorm'), or train the head alone with freeze_epochs=epochs",
            stacklevel=5,
        )


def _fault(value: float, part: Shard, step: int, progress: Progress) -> str:
    """Say where a loss went wrong, and whether it was the images that came so."""
    own = len(part.indices)
    bad = [place for place, image in zip(part.indices.tolist(), part.images[:own], strict=True) if not image.isfinite().all()]
    found = f"not finite are its images {bad[:5]}, counted through the epoch" if bad else "its images are finite; lower lr"
    return f"the loss is {value} in step {step} of epoch {progress.epoch}, with lr={progress.lr:.3g}; {found}"


@contextmanager
def _memory_is_told(images: int) -> Iterator[None]:
    """Turn an out-of-memory error of torch's into one with remedies."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError of an accelerator is one; the CPU's is a plain one
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        half = max(1, images // 2)
        raise TrainingError(
            f"out of memory with a batch of {images}: pass checkpoint=True (a half or less of the maps are kept), "
            f"precision='bf16' (half the bytes), or batches of {half} with accumulate={-(-images // half)} (the same step)"
        ) from error
