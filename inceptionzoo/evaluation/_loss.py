"""Losses: the default one of each task, the task that a loss of torch is for, and a check of what a loss returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ArgumentError
from ..nn import Net, check_task, default_task
from ._own_loss import OneHotTargets, OwnLoss, function_of, has_own_forward, options_of_cross_entropy
from ._task import IGNORED, Binary, Multilabel, Regression, Task

Loss = Callable[[Tensor, Tensor], Tensor]

TASKS: dict[str, type[Task]] = {task.name: task for task in (Task, Binary, Multilabel, Regression)}
REGRESSION_LOSSES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
REGRESSION_FUNCTIONS = (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)
LOGIT_LOSSES = (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)
LOGIT_FUNCTIONS = (F.binary_cross_entropy_with_logits, F.multilabel_soft_margin_loss)
ELEMENTWISE_LOSSES = (*REGRESSION_LOSSES, *LOGIT_LOSSES)
ELEMENTWISE_FUNCTIONS = (*REGRESSION_FUNCTIONS, *LOGIT_FUNCTIONS)


def make_task(task: str | None, loss: Any, *, own: str, num_outputs: int) -> Task:
    """Return the task of a model with `num_outputs` outputs: the one asked for, else that of the loss, else the model's own.

    Raises:
        ArgumentError: the task is not one of `TASKS`, or a model with this number of outputs or this loss cannot have it.
    """
    by_loss = _task_of_loss(loss, num_outputs)
    if task == "binary" and by_loss == "multiclass":
        raise ArgumentError(
            "task='binary' has one logit, and the cross entropy compares several: use loss=torch.nn.BCEWithLogitsLoss(), or "
            "task='multiclass' with num_classes=2"
        )
    name = check_task(by_loss or own if task is None else task, num_outputs)
    return TASKS[name](num_outputs, task is None and by_loss is None, _ignore_index(loss) if name == "multiclass" else None)


def _ignore_index(loss: Any) -> int | None:
    """Return the target that a cross entropy leaves out; None for any other function, and for the default loss."""
    if isinstance(loss, nn.CrossEntropyLoss):  # also of a subclass
        return loss.ignore_index
    options = options_of_cross_entropy(loss)
    return None if options is None else int(options.get("ignore_index", -100))


def _task_of_loss(loss: Any, num_outputs: int) -> str | None:
    """Return the task that a loss of torch is for; None for any other function."""
    function = function_of(loss)
    if isinstance(function, nn.CrossEntropyLoss) or function is F.cross_entropy:
        return "multiclass"
    if isinstance(function, LOGIT_LOSSES) or function in LOGIT_FUNCTIONS:
        return "binary" if num_outputs == 1 else "multilabel"
    if isinstance(function, REGRESSION_LOSSES) or function in REGRESSION_FUNCTIONS:
        return "regression"
    return None


def task_of(model: nn.Module, num_outputs: int) -> Task:
    """Return the task of a model: its own, or that of a plain module with this number of outputs."""
    own = getattr(model, "task", None)
    return make_task(None, None, own=own if own in TASKS else default_task(num_outputs), num_outputs=num_outputs)


def check_logits(model: nn.Module, task: Task) -> None:
    """Check that the models of this library in `model` return logits: the task applies the softmax or the sigmoid itself.

    Raises:
        ArgumentError: a head ends in a softmax or a sigmoid, and the task is not regression.
    """
    if task.name == "regression":
        return
    for net in (module for module in model.modules() if isinstance(module, Net)):
        last = list(net.get_classifier().modules())[-1]
        if isinstance(last, nn.Softmax | nn.Sigmoid):
            name = type(last).__name__
            raise ArgumentError(
                f"the head of the model ends in {name}, but task={task.name!r} needs logits: fit, evaluate and predict apply "
                f"{name} themselves. Remove it from the head, and train with a loss for logits"
            )


class ElementwiseLoss(nn.Module):
    """A loss of torch that compares element by element. The targets get the shape and the dtype of the logits.

    Without that, torch broadcasts logits (n, 1) and targets (n,) to (n, n).
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.loss(logits, targets.reshape(logits.shape).to(logits.dtype))


def make_loss(task: Task, loss: Loss | None, *, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Loss:
    """Return the loss of (logits, targets): the caller's, else the task's.

    The default is cross entropy, binary cross entropy with logits or mean squared error. `weight` and `label_smoothing` are of
    the cross entropy. A loss of torch that compares element by element gets class indices as rows of 0 and 1.
    """
    if isinstance(loss, OwnLoss | OneHotTargets) or options_of_cross_entropy(loss) is not None:
        return cast("Loss", loss)
    if loss is not None:
        function = function_of(loss)
        if not isinstance(function, ELEMENTWISE_LOSSES) and function not in ELEMENTWISE_FUNCTIONS:
            return OwnLoss(loss)
        elementwise: Loss = ElementwiseLoss(loss)
        if task.name == "multiclass":
            elementwise = OneHotTargets(elementwise, task.num_outputs)
        return OwnLoss(elementwise) if has_own_forward(function) else elementwise
    if task.name == "multiclass":
        return nn.CrossEntropyLoss(weight, label_smoothing=label_smoothing)
    return ElementwiseLoss(nn.MSELoss() if task.name == "regression" else nn.BCEWithLogitsLoss())


def weight_in_mean(task: Task, class_weights: Tensor | None, targets: Tensor) -> float:
    """Return the weight of a batch in the mean loss: the images that count, or the sum of their class weights."""
    if class_weights is None or targets.is_floating_point():  # torch's cross entropy with soft labels divides by n
        return task.count(targets)
    labels = task.labels(targets)
    return float(class_weights.to(targets.device)[labels[labels != IGNORED]].sum())


def check_loss_value(value: object) -> Tensor:
    """Return what a loss returned. Check that it is a tensor with one number.

    Raises:
        ArgumentError: it is not.
    """
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"a Tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ArgumentError(f"loss returned {what}; it must return a Tensor with one number, the mean over the images")
    return value.reshape(())
