"""The names of the tasks that a model can be trained for; `evaluation` says what each means."""

from __future__ import annotations

from ..errors import ArgumentError, check_choice

TASKS = ("multiclass", "binary", "multilabel", "regression")  # torchmetrics' names, and regression
CLASS_TASKS = TASKS[:2]  # an image has one class


def default_task(num_classes: int) -> str:
    """Return the task of a model about which nothing else is known: "binary" for one output, otherwise "multiclass"."""
    return "binary" if num_classes == 1 else "multiclass"


def check_task(task: str, num_classes: int) -> str:
    """Return the task. Check that it is one of `TASKS`, and that a model with this number of outputs can have it.

    Raises:
        ArgumentError: it is not, or it cannot.
    """
    check_choice("task", task, TASKS)
    if task_fits(task, num_classes):
        return task
    if task == "binary":
        raise ArgumentError(f"task='binary' needs one output; the model has num_classes={num_classes}: use 'multiclass'")
    raise ArgumentError("task='multiclass' needs num_classes of at least 2; the model has num_classes=1: use 'binary'")


def task_fits(task: str, num_classes: int) -> bool:
    """Return whether a model with this number of outputs can have the task."""
    return (num_classes == 1) if task == "binary" else task != "multiclass" or num_classes != 1


def name_counts(num_classes: int, task: str) -> tuple[int, ...]:
    """Return how many class names a model may have. One binary output may have two, of the classes that it separates."""
    return (1, 2) if num_classes == 1 and task == "binary" else (num_classes,)


def check_class_names(names: object, num_classes: int, task: str) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        ArgumentError: their number is none of `name_counts`, or two are equal.
    """
    numbers = name_counts(num_classes, task)
    strings = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if isinstance(names, list | tuple) and strings and len(names) == len(set(names)) and len(names) in numbers:
        return tuple(names)
    count = " or ".join(map(str, numbers))
    reason = f"one per class; the model has num_classes={num_classes} and task={task!r}"
    raise ArgumentError(f"class_names={names!r} must be {count} different strings, {reason}")
