"""One epoch of training: batches, losses and optimizer steps."""

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

from ..errors import ArgumentError, TrainingError
from ..evaluation import (
    OTHER_BATCHES,
    DistributedContext,
    EpochMetrics,
    Shard,
    ShardedLoader,
    Task,
    check_images,
    describe_difference,
    move_batch,
    weight_in_mean,
)
from ..nn import Net, training_batch_norms
from ._average import MovingAverage
from ._fused import prepare_fused_step
from ._history import Row
from ._losses import Losses
from ._progress import Progress
from ._schedule import Schedule


@dataclass(slots=True)
class Stepper:
    """Run optimizer steps on `accumulate` batches each, with clipping, the schedule and the average of the weights."""

    losses: Losses
    task: Task
    optimizer: Optimizer
    accumulate: int
    scaler: torch.amp.GradScaler
    class_weights: Tensor | None
    average: MovingAverage | None
    schedule: Schedule | None
    clip_grad_norm: float | None
    soft_labels: bool = False  # whether a batch had soft labels

    def run_epoch(self, loader: ShardedLoader, progress: Progress) -> Row:
        """Train on every batch once and return the loss and the metrics of the task over all of them.

        Raises:
            TrainingError: a loss is not finite, memory has run out, or the ranks read different batches.
            ArgumentError: there is no batch, or a batch is not (images, targets).
        """
        context, metrics = loader.context, EpochMetrics(self.task)
        module, shards = context.wrap_ddp(self.losses), map(self._to_device, loader)
        group = list(islice(shards, self.accumulate))
        context.reseed_per_rank()
        if progress.epoch == 0 and context.is_main:
            _warn_of_small_batches(self.losses.model, group)
            _warn_of_other_images(self.losses.model, group)
        batches = 0
        while weighted := self._weigh(context, group):
            self.optimizer.zero_grad(set_to_none=True)
            errors = self._run_backward(module, weighted, metrics, progress, batches)
            batches += len(group)
            if context.all_reduce(len(errors))[0]:
                raise TrainingError(
                    errors[0] if errors else "the loss of another rank is not finite; see the error of that rank"
                )
            self._update()
            group = list(islice(shards, self.accumulate))
        if not batches:
            raise ArgumentError(
                f"fit: no batch in epoch {progress.epoch}; a DataLoader with drop_last=True needs a whole batch of images, "
                "and a generator can be read only once: pass a list or a DataLoader"
            )
        return metrics.compute(context)

    def _update(self) -> None:
        """Clip the gradients, then step the optimizer, the average and the schedule."""
        if self.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimizer)
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_grad_norm)
        prepare_fused_step(self.optimizer)
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.losses.model)
        skipped = self.scaler.get_scale() < scale  # the gradients were not finite in fp16
        if self.schedule is not None and not skipped:
            self.schedule.after_step()

    def _weigh(self, context: DistributedContext, group: list[Shard]) -> list[tuple[Shard, float, float]]:
        """Return each batch with its weight in the mean loss, and the factor by which its loss is multiplied.

        The weight is the number of images that count, or the sum of their class weights. DistributedDataParallel averages the
        gradients of the ranks; the factors make the result the gradient of one large batch.

        Raises:
            TrainingError: the ranks read different batches.
        """
        weights = [self._weight(shard) for shard in group]
        numbers = [len(group), sum(shard.checksum for shard in group)]
        total, *sums = context.all_reduce(sum(weights), *numbers)
        if sums != [context.world_size * number for number in numbers]:
            raise TrainingError(OTHER_BATCHES)
        factors = [weight * context.world_size / total if total else 1.0 for weight in weights]
        return list(zip(group, weights, factors, strict=True))

    def _weight(self, shard: Shard) -> float:
        return weight_in_mean(self.task, self.class_weights, shard.targets[: len(shard.indices)])

    def _run_backward(
        self,
        module: nn.Module,
        weighted: list[tuple[Shard, float, float]],
        metrics: EpochMetrics,
        progress: Progress,
        first: int,
    ) -> list[str]:
        """Add the gradients of a group of batches, and return a message for each loss that is not finite.

        `first` is the number of batches of the epoch before this group.
        """
        errors = []
        for index, (shard, weight, factor) in enumerate(weighted):
            is_last = index == len(weighted) - 1
            with _explain_out_of_memory(len(shard.targets)), nullcontext() if is_last else _no_sync(module):
                logits, loss = module(shard.images, shard.targets, weight > 0)
                self.scaler.scale(loss if factor == 1 else loss * factor).backward()
            metrics.update(logits, shard.targets, shard.indices)
            if weight:
                value = loss.item()
                metrics.update_loss(value, weight)
                if not math.isfinite(value):
                    errors.append(_describe_loss(value, shard, first + index, progress))
            progress.update(metrics)
        return errors

    def _to_device(self, shard: Shard) -> Shard:
        """Check a batch and move it to the device, dtype and memory format of the model."""
        model = self.losses.model
        check_images(shard.images, shard.targets)
        targets, copy = self.task.check(shard.targets), self.accumulate > 1  # a loader may use its memory again
        images, targets = move_batch(shard.images, targets, next(model.parameters()), copy=copy)
        self.soft_labels |= self.task.name == "multiclass" and targets.is_floating_point()
        memory_format = torch.channels_last if model.is_channels_last else torch.preserve_format
        return Shard(images.to(memory_format=memory_format), targets, shard.indices, shard.checksum)


def _no_sync(module: nn.Module) -> AbstractContextManager[None]:
    """Accumulate gradients on this rank, without the all-reduce of DistributedDataParallel."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def _warn_of_small_batches(model: nn.Module, group: list[Shard]) -> None:
    sizes = [len(shard.targets) for shard in group if len(shard.targets) <= 2]
    if sizes and training_batch_norms(model):
        warnings.warn(
            f"batch normalisation computes its statistics on a batch of {sizes[0]}, too few images to be reliable; accumulate "
            "does not change that. Use larger batches (checkpoint=True and precision='bf16' save memory), "
            "create_model(..., norm_layer='groupnorm'), or train only the classifier with freeze_epochs=epochs",
            stacklevel=6,  # the call of fit
        )


def _warn_of_other_images(model: Net, group: list[Shard]) -> None:
    text = describe_difference(group[0].images, model.data, "train", compare_sizes=True) if group else None
    if text:
        warnings.warn(text, stacklevel=6)  # the call of fit


def _describe_loss(value: float, shard: Shard, batch: int, progress: Progress) -> str:
    """Return a message about a loss that is not finite, which names the images that are not finite themselves."""
    images = shard.images[: len(shard.indices)]
    invalid = [index for index, image in zip(shard.indices.tolist(), images, strict=True) if not image.isfinite().all()]
    cause = f"images {invalid[:5]} of the epoch are not finite" if invalid else "its images are finite; use a smaller lr"
    return f"the loss is {value} in step {batch} of epoch {progress.epoch}, with lr={progress.lr:.3g}; {cause}"


@contextmanager
def _explain_out_of_memory(images: int) -> Iterator[None]:
    """Raise a TrainingError with remedies if torch runs out of memory."""
    try:
        yield
    except RuntimeError as error:  # on the CPU torch raises no OutOfMemoryError
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        half = max(1, images // 2)
        raise TrainingError(
            f"out of memory with a batch of {images}: pass checkpoint=True (keeps half of the feature maps or less), "
            f"precision='bf16' (half the bytes), or batches of {half} with accumulate={-(-images // half)} (the same step)"
        ) from error
