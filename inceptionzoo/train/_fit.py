"""Train a model: a short loop, its defaults the recipe that the model carries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..evaluation import Batches, ShardedLoader, distributed_context
from ..nn import Net
from ._callbacks import Callback
from ._fingerprint import loader_fingerprint, loss_name, model_fingerprint, optimizer_fingerprint
from ._history import History
from ._losses import Losses
from ._recipe import Loss, check_numbers, cross_entropy, make_ema, make_grad_scaler, recipe
from ._setup import check_epochs, check_loss, check_memory, check_records, check_resume, check_run, check_steps
from ._state import LAST, check_parts, read_state, set_seed, stateful
from ._step import PRECISIONS, Stepper
from ._trainer import Metrics, Trainer


def fit(
    model: Net,
    train: Batches,
    val: Batches | None = None,
    *,
    epochs: int,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    warmup_epochs: int = 0,
    layer_decay: float | None = None,
    freeze_epochs: int = 0,
    patience_epochs: int | None = None,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    loss: Loss | None = None,
    accumulate: int = 1,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    checkpoint: bool = False,
    channels_last: bool = True,
    ema: float | None = None,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    metrics: Metrics | None = None,
    monitor: str = "accuracy",
    out: str | os.PathLike[str] | None = None,
    resume: bool | Literal["auto"] = "auto",
    seed: int | None = None,
    device: str | torch.device | None = None,
    progress: bool | None = None,
    callbacks: Iterable[Callback] = (),
) -> History:
    """Train the model in place on (images, targets) batches and return a row an epoch.

    None for `lr`, `momentum` and `weight_decay` is the model's own recipe: SGD 0.025, 0.9, 3e-4 unless its registry entry
    says otherwise. The rate steps once an epoch: epoch e, from 0, uses lr / 2 * (1 + cos(pi * e / epochs)), after
    `warmup_epochs` in which it rises. `layer_decay` multiplies the rate of each stage below the head by this factor.
    An `optimizer` of one's own takes the place of those five, and then a `scheduler`, or none, that of the cosine. In the
    first `freeze_epochs` the classifier alone is trained. The loss is cross entropy, with `label_smoothing` and
    `class_weights` (num_classes,), unless `loss(logits, targets)`, a mean over images, is given; auxiliary heads
    (`with_aux`) add theirs, weighted.

    Memory: `accumulate` batches make one step, that of the large batch but for what batch normalisation sees; `precision`
    "bf16" or "fp16" halves the bytes of a map; `checkpoint` keeps fewer maps and computes the others again, exactly.
    `ema` is the decay of an average of the weights, 0.999 for example: it is what is validated, saved as the best, and in
    the model at the end.

    The model ends with the last epoch's weights. `metrics` are further columns, of the validation data: names with functions
    of a `Result`. `monitor` is the column that chooses the best epoch, of the validation data where there are any, the largest
    unless it is a loss or "-" stands before its name; after `patience_epochs` without a better one the training ends. `out` is
    a folder for `best.safetensors`, `history.csv` and `.json`, and `last.safetensors`, from which the same call goes on after
    it was cut short, bit for bit as if it had not been: `resume` "auto" does so where the file is, True demands it, False
    starts anew. `seed` sets the generators of torch, NumPy and Python, which augmentation draws from; the order of images
    is the loader's own. `device` is the accelerator where there is one. `progress` None shows a bar on a terminal only.
    Each callback gets the model and the epoch's row.

    Under `torchrun` every process makes the same call, with the same loader: each batch is split between them, gradients are
    averaged, the rows are those of all images. The first writes the files and calls the callbacks. `out` must be one folder.

    Raises:
        ArgumentError: an argument lies outside its range, or `out` holds another training; nothing has been trained then.
        TrainingError: the loss is not finite, or memory is out; what stands in `out` is as it was.
    """
    numbers = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, layer_decay=layer_decay)
    check_numbers(epochs, warmup_epochs, **numbers)
    check_steps(model, optimizer, scheduler, **numbers, warmup_epochs=warmup_epochs or None)
    check_epochs(epochs, freeze_epochs, patience_epochs)
    check_loss(model, loss, label_smoothing, class_weights)
    check_memory(model, accumulate, precision, ema, checkpoint=checkpoint)
    monitor, metrics, folder = check_records(model, monitor, metrics, out, validated=val is not None)
    place, callbacks = check_run(train, val, device, seed, callbacks, channels_last=channels_last, progress=progress)
    resumed = check_resume(resume, folder, train)
    asked: dict[str, Any] = {
        **{name: None if number is None else float(number) for name, number in numbers.items()},
        "warmup_epochs": warmup_epochs, "epochs": epochs, "freeze_epochs": freeze_epochs,
        "patience_epochs": patience_epochs,
        "optimizer": optimizer_fingerprint(optimizer), "scheduler": optimizer_fingerprint(scheduler),
        "loss": loss_name(loss), "accumulate": accumulate, "precision": precision,
        "channels_last": channels_last, "ema": ema, "label_smoothing": label_smoothing,
        "class_weights": None if class_weights is None else class_weights.tolist(), "metrics": sorted(metrics),
        "monitor": monitor, "seed": seed,
        "data": loader_fingerprint(train), "val": loader_fingerprint(val), "model": model_fingerprint(model),
    }  # fmt: skip
    if folder is not None:
        check_parts(stateful(optimizer, scheduler, train))
    with distributed_context() as here:
        here.check_same(asked)
        asked["ranks"] = here.world_size
        shares = ShardedLoader(train, here), None if val is None else ShardedLoader(val, here)
        state = read_state(folder / LAST, asked) if resumed and folder is not None else None
        if seed is not None:
            set_seed(seed)
        model.to(device=place)
        if channels_last:
            model.to(memory_format=torch.channels_last)
        here.broadcast((*model.parameters(), *model.buffers()))
        take_names(model, train)
        if optimizer is None:
            optimizer, scheduler = recipe(model, epochs, **numbers, warmup_epochs=warmup_epochs)
        losses = Losses(model, cross_entropy(model, loss, label_smoothing, class_weights), PRECISIONS[precision])
        losses.to(device=next(model.parameters()).device)
        average, scaler = make_ema(model, ema), make_grad_scaler(model, precision)
        stepper = Stepper(losses, optimizer, accumulate, scaler, class_weights, average)
        run = Trainer(stepper, scheduler, *shares, metrics, History(monitor), folder, asked)
        run.go_on(state)
        with checkpointed(model, checkpoint):
            run.to_the_end(callbacks, progress)
    return run.history


@contextmanager
def checkpointed(model: Net, enable: bool) -> Iterator[None]:
    """Have the model keep fewer maps meanwhile, where that is asked for."""
    before = model.grad_checkpointing
    model.set_grad_checkpointing(enable or before)
    try:
        yield
    finally:
        model.set_grad_checkpointing(before)


def take_names(model: Net, train: Batches) -> None:
    """Take the class names of an image folder, where the loader has one and the model has none."""
    classes = getattr(getattr(train, "dataset", None), "classes", None)
    if model.class_names is None and isinstance(classes, list | tuple) and len(classes) == model.num_classes:
        model.set_class_names([str(name) for name in classes])
