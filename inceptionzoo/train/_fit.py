"""The function that trains a model."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal

import torch
from torch.optim import Optimizer

from ..errors import ArgumentError, InputError
from ..evaluation import Batches, Loss, Unpack, distributed_context
from ..nn import Net, private_torch
from ._callbacks import Callback
from ._config import FitConfig
from ._history import History
from ._memory_format import kept_memory_format
from ._metrics import Metrics
from ._schedule import Scheduler, Unit
from ._setup import make_trainer
from ._task_options import ClassWeights


def fit(
    model: Net,
    train: Batches,
    val: Batches | None = None,
    *,
    epochs: int,
    unpack: Unpack | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    warmup_epochs: int = 0,
    layer_decay: float | None = None,
    freeze_epochs: int = 0,
    freeze_up_to: str | None = None,
    patience_epochs: int | None = None,
    optimizer: Optimizer | Literal["sgd", "adamw"] | None = None,
    scheduler: Scheduler | None = None,
    scheduler_step: Unit = "epoch",
    task: str | None = None,
    loss: Loss | None = None,
    accumulate: int = 1,
    clip_grad_norm: float | None = None,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    checkpoint: bool = False,
    channels_last: bool = True,
    kernels: bool = True,
    ema: float | None = None,
    label_smoothing: float = 0.0,
    class_weights: ClassWeights | None = None,
    metrics: Metrics | None = None,
    monitor: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool | Literal["auto"] = "auto",
    seed: int | None = None,
    device: str | torch.device | None = None,
    progress: bool | None = None,
    callbacks: Iterable[Callback] = (),
) -> History:
    """Train the model in place on (images, targets) batches, and return a row of metrics for each epoch.

    The model ends with the weights of the last epoch, or with their average if `ema` is given. `torch.compile(model)` is
    trained compiled. Under `torchrun`, every process makes the same call with the same loader: each batch is split between the
    processes, gradients are averaged, and the rows are computed over all images.

    In a model in training mode, a part that you put into evaluation mode stays in it. Batch normalisation of which no parameter
    requires a gradient keeps its statistics.

    Data:

    - `train`, `val`: a DataLoader or another iterable of (images (n, c, h, w), targets), with or without more behind them, or
      of dicts with such keys as "pixel_values" and "labels". `val` is optional. If the data sets have class names, the model
      gets those of `train`, and the targets of `val` are numbered in their order.
    - `unpack`: function from any other batch to (images, targets). Default: none.

    Optimization:

    - `epochs`: number of passes over `train`.
    - `optimizer`: "sgd" (default), "adamw", or an optimizer of your own.
    - `lr`, `momentum`, `weight_decay`: of SGD. By default those of the model's registry entry, 0.025, 0.9 and 3e-4 for most.
      AdamW has no momentum, and by default lr=5e-4 and weight_decay=0.05.
    - `warmup_epochs`: the learning rate first rises in equal steps for this many epochs. Default 0. It then falls on a cosine,
      one step an epoch: without warm-up, epoch e, counted from 0, uses lr / 2 * (1 + cos(pi * e / epochs)).
    - `layer_decay`: the learning rate of each stage is this factor times that of the next stage. Default: one rate for all.
    - `scheduler`: replaces the cosine of an optimizer of your own, without which its rate is constant. Such an optimizer
      takes none of the five arguments above, and must hold every parameter that is not frozen. The scheduler is one of torch or
      timm; ReduceLROnPlateau gets the `monitor` column, or the loss if its mode is "min" and that column's best is the largest.
    - `scheduler_step`: "epoch" (default) or "step": whether a scheduler of torch steps after each epoch or after each step of
      the optimizer, as OneCycleLR and transformers' schedules need.
    - `freeze_epochs`: number of epochs at the start that train only the classifiers. Default 0.
    - `freeze_up_to`: name of a stage, for example "inception4a": this stage and those before it are not trained, and their
      batch normalisation keeps its statistics. Default: all are trained.
    - `accumulate`: number of batches for each optimizer step. Default 1. The step is that of one large batch, except for
      batch normalisation, which sees the small batches.
    - `clip_grad_norm`: largest 2-norm of all gradients together; larger ones are scaled down before each step of the
      optimizer, by torch's `clip_grad_norm_`. Default: no clipping.
    - `ema`: decay of a moving average of the weights, for example 0.999. It rises to this value: the first step copies the
      weights, and step n after it uses min(ema, (1 + n) / (10 + n)). The average is validated and saved, and is copied into
      the model at the end. Default: no average.

    Loss:

    - `task`: "multiclass", targets are class indices (n,) or soft labels (n, num_classes); "binary", one logit, targets (n,) or
      (n, 1) from 0 to 1; "multilabel", targets (n, num_classes) from 0 to 1; "regression", targets (n, num_classes). By default
      that of `loss` if it is one of torch, else the model's. It is kept with the model.
    - `loss`: function or module of (logits, targets) that returns the mean over the images. If it has parameters, pass an
      `optimizer` that holds them. By default cross entropy, binary cross entropy for "binary" and "multilabel", or mean
      squared error. The weighted losses of auxiliary heads (see `with_aux`)
      are added.
      `val_loss` is the mean of the same function, but without auxiliary heads, label smoothing and class weights.
    - `label_smoothing`: of the cross entropy, 0 <= value < 1. Default 0.
    - `class_weights`: of the cross entropy, num_classes numbers: a list, an array or a tensor. Default: equal weights.

    Memory and speed:

    - `precision`: "fp32", or "bf16" or "fp16" for autocast, which halves the memory of most feature maps. A processor without
      instructions for them emulates them, several times more slowly; a warning says so.
    - `checkpoint`: whether to use gradient checkpointing, which recomputes feature maps in the backward pass instead of
      keeping them. The results are the same.
    - `channels_last`: whether to convert the model and the images to torch's channels_last memory format. Default True.
      The parameters have their own format again after the call.
    - `kernels`: whether to train by the library's CPU kernels, in fp32 and channels_last, where they are faster than torch's
      operations; see `use_kernels`. Default True.
    - `device`: device to train on. By default the accelerator if there is one, otherwise the device of the model.

    Records:

    - `metrics`: further columns: a dict of names and functions, which take the `Result` of the validation data. Each is first
      called on made-up data, so that an error is raised before training.
    - `monitor`: the column that chooses the best epoch: by default "accuracy", or "loss" for regression. It is the validation
      column if there is one. The best value is the largest, or the smallest if the column is a loss, mae or rmse, or has a "-"
      before its name ("-error").
    - `patience_epochs`: stop after this many epochs without a better one. Default: never.
    - `out`: folder for `best.safetensors` (the model of the best epoch), `history.csv`, `history.json` and
      `last.safetensors` (the state of the training). Default: no files. All processes need the same folder.
    - `resume`: whether to continue from `last.safetensors` in `out`: "auto" if it exists, True to require it, False to start
      again. The result has the same bits as that of an uninterrupted training. With more `epochs` than before it continues, on
      the cosine of the new number; a warning says so.
    - `seed`: of the random generators of torch, NumPy and Python when training starts. Default: they are not seeded.
    - `progress`: True for a progress bar, and a line of metrics after each epoch, on stderr; False for neither. By default
      the line is printed, and the bar is shown only on a terminal.
    - `callbacks`: functions of (model, row) that are called after each epoch, in the first process only. One that raises
      StopIteration ends the training after this epoch.

    Raises:
        ArgumentError: an argument lies outside its range, or `out` holds another training. The model is unchanged then.
        FileError: `last.safetensors` is damaged. The model is unchanged then.
        TrainingError: the loss, a weight or an output for `val` is not finite, memory has run out, or the processes read
            different batches. The files in `out` stay as they are.
    """
    arguments = locals()  # the fields of FitConfig are the parameters of this function
    config = FitConfig(**{**arguments, "model": private_torch.uncompiled(model)})
    with distributed_context() as context, kept_memory_format(config.model, config.own_optimizer):
        task, class_names = config.model.task, config.model.class_names
        trainer = None
        try:
            trainer = make_trainer(config, context, compiled=None if config.model is model else model)
            trainer.run()
        except (ArgumentError, InputError):
            if trainer is None or not trainer.history.epochs:  # a batch of the first epoch does not fit the task
                config.model.task, config.model.class_names = task, class_names
            raise
    return trainer.history
