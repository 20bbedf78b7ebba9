"""Checks of data loaders and of their (images, targets) batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError

Batches = Iterable[tuple[Tensor, Tensor]]


def check_loader(name: str, loader: object) -> None:
    """Check that `loader` can be iterated over. Its batches are checked when they are read.

    Raises:
        ArgumentError: it cannot.
    """
    iterable = hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")
    if not iterable or isinstance(loader, str | bytes | Mapping | type):
        raise ArgumentError(f"{name}={loader!r} must be a DataLoader, or a list of (images, targets)")


def length_or_none(loader: object) -> int | None:
    """Return `len(loader)`, or None if it has no length. A DataLoader may have a `__len__` that raises TypeError."""
    try:
        return len(loader)  # type: ignore[arg-type]  # the TypeError is caught
    except TypeError:
        return None


def explain_read_errors(loader: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of a loader; an error of reading a file says how to find the file."""
    try:
        yield from loader
    except OSError as error:
        error.add_note(
            "The data set could not read one of its files. If the message does not name it, read images with iz.open_image: "
            "ImageFolder(folder, iz.transforms(model), loader=iz.open_image)"
        )
        raise


def unpack_batch(batch: Any) -> tuple[Tensor, Tensor]:
    """Return the images and the targets of a batch.

    Raises:
        ArgumentError: the batch is not a pair of tensors.
    """
    try:
        images, targets = batch
    except (TypeError, ValueError):
        images = targets = None
    if not isinstance(images, Tensor) or not isinstance(targets, Tensor):
        raise ArgumentError(f"a batch of type {type(batch).__name__} must be two Tensors, (images, targets)")
    return images, targets


def check_batch(images: Tensor, targets: Tensor, num_classes: int) -> None:
    """Check that the images are floating point and that the targets are class indices.

    Without this check, torch reports a wrong class index by an assertion inside a kernel, or not at all.

    Raises:
        ArgumentError: a dtype, a shape or a class index is wrong.
    """
    if not images.is_floating_point():
        raise ArgumentError(f"images of {images.dtype} must be floating point; prepare them with transforms(model)")
    if targets.ndim != 1 or targets.dtype != torch.int64 or len(targets) != len(images) or not len(targets):
        raise ArgumentError(
            f"targets of shape {tuple(targets.shape)} and {targets.dtype} must be (n,) of torch.int64, one for each of the "
            f"{len(images)} images"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= num_classes:
        raise ArgumentError(
            f"targets from {low} to {high} must lie in 0..{num_classes - 1}; the model has num_classes={num_classes}"
        )
