"""Callbacks of `fit`: functions of the model and the epoch's row."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable

from torch import nn

from ..errors import ArgumentError, TrainingError, check_path
from ._history import Row

Callback = Callable[[nn.Module, Row], None]


def check_callbacks(callbacks: object) -> tuple[Callback, ...]:
    """Return the callbacks as a tuple. Check that each takes two arguments, the model and the row.

    Raises:
        ArgumentError: they are no list of functions, or one does not take two arguments.
    """
    functions = tuple(callbacks) if isinstance(callbacks, Iterable) else (None,)
    if not all(map(callable, functions)):
        raise ArgumentError(f"callbacks={callbacks!r} must be a list of functions of (model, row)")
    for function in functions:
        _check_arguments(function)
    return functions


def _check_arguments(callback: Callback) -> None:
    try:
        parameters = inspect.signature(callback)
    except (TypeError, ValueError):  # a function of C without a signature
        return
    try:
        parameters.bind(None, {})
    except TypeError as error:
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        raise ArgumentError(f"callbacks: {name}{parameters} must take two arguments, the model and the row: {error}") from error


def added_columns(row: Row) -> Row:
    """Return the columns of a row that callbacks have written in another type than int or float, as floats.

    Raises:
        TrainingError: a value is not a number.
    """
    added = {key: value for key, value in row.items() if type(value) not in (int, float)}
    for key, value in added.items():
        try:
            added[key] = float(value)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"callbacks: row[{key!r}]={value!r} must be a number; keep other values elsewhere") from error
    return added


def tensorboard(folder: str | os.PathLike[str]) -> Callback:
    """Return a callback for `fit` that writes each epoch's row to `folder`, for TensorBoard.

    Raises:
        ArgumentError: TensorBoard is not installed.
    """
    log_dir = check_path("folder", folder)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ArgumentError("tensorboard needs the package of that name: pip install tensorboard") from error
    writer = SummaryWriter(log_dir)

    def write_row(_: nn.Module, row: Row) -> None:
        for key, value in row.items():
            if key != "epoch":
                writer.add_scalar(key, value, int(row["epoch"]))
        writer.flush()

    return write_row
