"""The class names of data sets, and their comparison with those of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor

from ..errors import ArgumentError
from ._batches import TARGET_KEYS
from ._task import Task

WRAPPED = (
    "dataset",
    "subset",
    "base",
    "wrapped",
    "loader",
    "dataloader",
    "base_dataloader",
    "reader",  # of timm's ImageDataset
)  # attributes that hold the data set
MAX_DEPTH = 16  # of wrappers
MAX_SHOWN = 10  # names in a message


def find_class_names(data: object) -> tuple[str, ...] | None:
    """Return the class names of a loader or data set, in the order of its class indices; None if it has none.

    They are its `classes` or `class_names`, or the names of its `features` (as the datasets library keeps them), or the keys of
    its `class_to_idx`, or those of the data set inside a loader, `Subset`, `random_split` or another wrapper. Parts of a
    `ConcatDataset` must agree. A data set with a `target_transform` has none, because its targets are other numbers.

    Raises:
        ArgumentError: the parts of a `ConcatDataset` have different names, or `classes` and `class_to_idx` different orders.
    """
    for _ in range(MAX_DEPTH):
        if data is None or getattr(data, "target_transform", None) is not None:
            return None
        indices = _class_indices(data)
        own = _as_names(getattr(data, "classes", None)) or _as_names(getattr(data, "class_names", None))
        if names := own or _feature_names(getattr(data, "features", None)) or indices:
            _check_indices(names, indices)
            return names
        parts = getattr(data, "datasets", None)
        if isinstance(parts, list | tuple):
            return _common_names(parts)
        data = next((getattr(data, name) for name in WRAPPED if getattr(data, name, None) is not None), None)
    return None


def _as_names(classes: object) -> tuple[str, ...] | None:
    """Return a list of classes as strings; None if it is no list of different names. A name may be a tuple of synonyms."""
    if not isinstance(classes, list | tuple | numpy.ndarray):
        return None
    names = tuple(", ".join(map(str, name)) if isinstance(name, list | tuple) else str(name) for name in classes)
    return names if names and len(set(names)) == len(names) else None


def _feature_names(features: object) -> tuple[str, ...] | None:
    if not isinstance(features, Mapping):
        return None
    return next((names for key in TARGET_KEYS if (names := _as_names(getattr(features.get(key), "names", None)))), None)


def _class_indices(data: object) -> tuple[str, ...] | None:
    """Return the names of `class_to_idx` in the order of their numbers; None unless the numbers are 0, 1, ..."""
    indices = getattr(data, "class_to_idx", None)
    if not isinstance(indices, Mapping) or not indices or not all(isinstance(number, int) for number in indices.values()):
        return None
    names = sorted(indices, key=lambda name: indices[name])
    return _as_names(names) if [indices[name] for name in names] == list(range(len(names))) else None


def _check_indices(names: tuple[str, ...], indices: tuple[str, ...] | None) -> None:
    if indices is not None and indices != names and set(indices) == set(names):
        raise ArgumentError(
            f"the data set has classes={_show(names)}, and its class_to_idx has another order, {_show(indices)}: make "
            "both match the targets. torchvision's data sets number their targets by the class_to_idx at their creation"
        )


def _common_names(parts: Iterable[object]) -> tuple[str, ...] | None:
    found = [find_class_names(part) for part in parts]
    if any(names != found[0] for names in found):
        raise ArgumentError(
            f"the data sets of a ConcatDataset have the classes {', '.join(map(_show, found))}; number their classes alike"
        )
    return found[0] if found else None


def check_number_of_classes(names: Sequence[str] | None, task: Task, name: str) -> None:
    """Check that a data set with these class names fits the number of outputs; `name` is the loader's, for the message.

    Raises:
        ArgumentError: it does not.
    """
    expected = 2 if task.name == "binary" else task.num_outputs
    if names is None or task.name == "regression" or len(names) == expected:
        return
    new = "2, or 1 for one logit" if len(names) == 2 else str(len(names))
    raise ArgumentError(
        f"{name} has {len(names)} classes, {_show(names)}, and the model has num_classes={task.num_outputs}; pass "
        f"num_classes={new} to create_model, or call model.reset_classifier({len(names)})"
    )


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the classes of a data set are numbered in a model: `positions[i]` is the model's number of the data's class i."""

    positions: tuple[int, ...]

    def apply(self, targets: Tensor, task: Task) -> Tensor:
        """Return targets in the model's numbering: class indices, soft labels or a column for each label.

        Raises:
            ArgumentError: a target is not one of the data's classes.
        """
        count = len(self.positions)
        positions = torch.tensor(self.positions, device=targets.device)
        if task.name == "binary":
            numbers = targets if targets.is_floating_point() else targets.long()
            return self.positions[0] + numbers * (self.positions[-1] - self.positions[0])
        if targets.ndim == 2 and targets.shape[1] == count:
            return targets.new_zeros(len(targets), task.num_outputs).index_copy(1, positions, targets)
        if targets.ndim != 1 or targets.is_floating_point():
            return targets  # the check of the task refuses them
        ignored = torch.zeros_like(targets, dtype=torch.bool) if task.ignore_index is None else targets == task.ignore_index
        indices = targets.long().masked_fill(ignored, 0)
        if bool(((indices < 0) | (indices >= count)).any()):
            raise ArgumentError(
                f"targets from {int(indices.min())} to {int(indices.max())} must lie in 0..{count - 1}, because the data has "
                f"{count} class names"
            )
        return torch.where(ignored, targets.long(), positions[indices])


def align_classes(data: Sequence[str] | None, model: Sequence[str] | None, task: Task, name: str) -> Alignment | None:
    """Return how the data's classes are numbered in the model; None if they have the same numbers, or one has no names.

    The data may lack classes of the model, and may have them in another order. `name` is the loader's, for the message.

    Raises:
        ArgumentError: the data has a class that the model lacks, or the model has no names and another number of outputs.
    """
    if data is None or task.name == "regression":
        return None
    if model is None:
        check_number_of_classes(data, task, name)
        return None
    names = task.names(model)
    if tuple(data) == names:
        return None
    if missing := [one for one in data if one not in names]:
        raise ArgumentError(
            f"{name} has the classes {_show(data)}, the model has {_show(names)}: {missing[0]!r} is not one of these; rename "
            "the data's classes, or call model.set_class_names if the model's names are wrong"
        )
    return Alignment(tuple(names.index(one) for one in data))


def _show(names: Sequence[str] | None) -> str:
    if names is None:
        return "none"
    more: list[Any] = [f"... {len(names) - MAX_SHOWN} more"] if len(names) > MAX_SHOWN else []
    return f"[{', '.join([*map(repr, names[:MAX_SHOWN]), *more])}]"
