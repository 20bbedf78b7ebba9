"""Evaluate a model on labelled images."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, TrainingError, check_choice
from ..nn import TASKS, check_device, check_has_values, check_task
from ..spec import DataConfig
from ._batches import Batches, Unpack, check_images, check_loader, check_unpack, move_batch
from ._classes import Alignment, align_classes, find_class_names
from ._distributed import DistributedContext
from ._epoch import EpochMetrics
from ._image_check import describe_difference
from ._loss import Loss, check_logits, check_loss_value, make_loss, make_task, task_of, weight_in_mean
from ._modes import eval_mode, without_gradients
from ._own_loss import check_loss, weights_of_classes
from ._probabilities import warn_of_probabilities
from ._result import Result
from ._sharding import OTHER_BATCHES, Shard, ShardedLoader
from ._task import Task, loss_dtype


def evaluate(
    model: nn.Module,
    loader: Batches,
    *,
    task: str | None = None,
    loss: Loss | None = None,
    unpack: Unpack | None = None,
    device: str | torch.device | None = None,
) -> Result:
    """Return the result of the model on a loader of (images, targets) batches.

    `loader` is a DataLoader or another iterable of (images (n, c, h, w), targets), with or without more behind them, or of
    dicts with such keys as "pixel_values" and "labels". From other batches, the function `unpack` makes (images, targets).

    `task` is by default the one that `loss` is for, else the model's. The targets are

    - "multiclass": class indices (n,), or soft labels (n, num_classes);
    - "binary", of a model with one logit: numbers from 0 to 1, (n,) or (n, 1);
    - "multilabel": numbers from 0 to 1, (n, labels);
    - "regression": values (n, outputs), or (n,) for one output.

    `loss` is a function of (logits, targets) that returns the mean over the images. By default it is the cross entropy, the
    binary cross entropy, or the mean squared error. Targets that a given `CrossEntropyLoss` ignores do not count. With
    `task="multiclass"`, torch's losses that compare element by element get class indices as rows of 0 and 1.

    If both the data set and the model have class names, the targets are numbered as in the model, whatever their order in the
    data set. If `device` is given, the model is moved there. Images are moved to the model's device and dtype. The model and a
    loss that is a module run in evaluation mode; afterwards the mode of each module is restored. Under torchrun, each process
    evaluates all images.

    Raises:
        ArgumentError: the model is not a module with parameters, or is on the meta device; the device does not exist, the
            loader has no batch, a target is not one of the task, or the data set has a class that the model lacks.
    """
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ArgumentError(
            f"model of type {type(model).__name__} must be a module with parameters, such as create_model returns"
        )
    check_has_values(model)
    check_loader("loader", loader)
    check_unpack(unpack)
    if task is not None:
        check_choice("task", task, TASKS)
        num_classes = getattr(_unwrapped(model), "num_classes", None)
        if isinstance(num_classes, int):  # that of a plain module is known from its first output
            check_task(task, num_classes)
    if loss is not None:
        check_loss("loss", loss)
    target_device = check_device(device)
    if target_device is not None:
        model.to(target_device)
    if isinstance(loss, nn.Module):
        loss.to(next(model.parameters()).device)
    return evaluate_shards(model, ShardedLoader(loader, DistributedContext(), unpack), task, loss, stacklevel=3)


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel, DistributedDataParallel or AveragedModel: it has the task and the class names."""
    while not hasattr(model, "class_names") and isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    return model


def evaluate_shards(
    model: nn.Module,
    loader: ShardedLoader,
    task: Task | str | None = None,
    loss: Loss | None = None,
    name: str = "loader",
    *,
    shards: Iterable[Shard] | None = None,
    stacklevel: int | None = None,
) -> Result:
    """Return the result of the model on the images of all ranks; `name` is that of the loader in messages.

    If `shards` are given, these are read instead of those of the loader. With `stacklevel`, warn if the images have another
    range than `model.data` says, or the outputs are probabilities.

    Raises:
        ArgumentError: there is no batch, or one is not what the task needs.
        TrainingError: the ranks read different batches.
    """
    parameter, current, checksums = next(model.parameters()), None, []
    loss_mode = eval_mode(loss) if isinstance(loss, nn.Module) else nullcontext()
    forward_mode = without_gradients(model)  # once for all batches, because it looks at every parameter
    with eval_mode(model), loss_mode, torch.no_grad():  # not inference mode: the loader and the loss may keep their tensors
        for shard in loader if shards is None else shards:
            check_images(shard.images, shard.targets)
            images, targets = move_batch(shard.images, shard.targets, parameter)
            with forward_mode:
                logits = _as_logits(model(images))
            if current is None:
                current = _begin(model, logits, loader, task, loss, name)
                if stacklevel is not None:
                    _warn_of_other_images(model, shard.images, name, stacklevel + 1)
                    warn_of_probabilities(model, logits, current.metrics.task, stacklevel + 1)
            current.add(logits, targets, shard.indices)
            checksums.append(shard.checksum)
    if current is None:
        raise ArgumentError("evaluate: the loader gave no batch; check the data set and its filters")
    if not loader.context.is_same(checksums):
        raise TrainingError(f"{name}: {OTHER_BATCHES}")
    return current.result(model, loader.context)


def made_up_result(task: Task, class_names: Sequence[str] | None) -> Result:
    """Return a result of random logits and valid targets for a few images, to try functions of a `Result` on."""
    count, outputs = 2 * max(2, task.num_outputs), task.num_outputs
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, outputs, generator=generator)
    classes = torch.arange(count) % max(2, outputs)
    made_up = {
        "multiclass": classes,
        "binary": classes,
        "multilabel": (torch.arange(count)[:, None] + torch.arange(outputs)) % 2,
        "regression": torch.randn(count, outputs, generator=generator),
    }
    return _make_result(task, logits, task.labels(made_up[task.name]), 0.0, class_names)


def _make_result(task: Task, logits: Tensor, labels: Tensor, loss: float, class_names: Sequence[str] | None) -> Result:
    names, metrics = task.names(class_names), task.metrics(logits, labels)
    return Result(task.outputs(logits), labels, loss, metrics, names, task.name, task.scores(logits))


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass over the images: the metrics so far, the loss, and how the data's classes are numbered in the model."""

    metrics: EpochMetrics
    loss: Loss
    alignment: Alignment | None
    class_weights: Tensor | None

    def add(self, logits: Tensor, targets: Tensor, indices: Tensor) -> None:
        """Add a batch, of which the first `len(indices)` images count."""
        task, count = self.metrics.task, len(indices)
        targets = task.check(targets if self.alignment is None else self.alignment.apply(targets, task))
        self.metrics.update(logits, targets, indices)
        if weight := weight_in_mean(task, self.class_weights, targets[:count]):
            numbers = logits[:count].to(loss_dtype(logits.dtype), copy=True)  # a tensor that the loss may change or keep
            self.metrics.update_loss(check_loss_value(self.loss(numbers, targets[:count])).item(), weight)

    def result(self, model: nn.Module, context: DistributedContext) -> Result:
        """Return the result over the images of all ranks."""
        loss, names = self.metrics.mean_loss(context), getattr(_unwrapped(model), "class_names", None)
        return _make_result(self.metrics.task, *self.metrics.gather(context), loss, names)


def _begin(
    model: nn.Module, logits: Tensor, loader: ShardedLoader, task: Task | str | None, loss: Loss | None, name: str
) -> _Pass:
    if not isinstance(task, Task):
        num_outputs = logits.shape[1]
        task = make_task(task, loss, own=task_of(_unwrapped(model), num_outputs).name, num_outputs=num_outputs)
    check_logits(model, task)
    class_names = getattr(_unwrapped(model), "class_names", None)
    alignment = align_classes(find_class_names(loader.loader), class_names, task, name)
    return _Pass(EpochMetrics(task), make_loss(task, loss), alignment, weights_of_classes(loss))


def _warn_of_other_images(model: nn.Module, images: Tensor, name: str, stacklevel: int) -> None:
    data = getattr(_unwrapped(model), "data", None)
    text = describe_difference(images, data, name, compare_sizes=False) if isinstance(data, DataConfig) else None
    if text:
        warnings.warn(text, stacklevel=stacklevel)


def _as_logits(logits: object) -> Tensor:
    if isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1]:
        return logits
    kind = f"a Tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    raise ArgumentError(
        f"the model returned {kind}; evaluate needs a Tensor (n, outputs): wrap a model that returns anything else"
    )
