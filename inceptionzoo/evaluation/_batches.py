"""Read the batches of data loaders: pairs, longer tuples, dicts, or what a function of the caller's makes of them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ..errors import ArgumentError
from ._task import loss_dtype

Batch = tuple[Any, ...] | list[Any] | Mapping[str, Any]
Batches = Iterable[Batch]
Unpack = Callable[[Any], Any]

IMAGE_KEYS = ("pixel_values", "image", "images", "x", "inputs")
TARGET_KEYS = ("labels", "label", "targets", "target", "y")
WRAP = "wrap the data set in a DataLoader: torch.utils.data.DataLoader(dataset, batch_size=32)"
PREPARE = "prepare the images with iz.transforms(model): ImageFolder(folder, iz.transforms(model), loader=iz.open_image)"
COLLATE_NOTES = {  # by a part of the message with which torch's default_collate fails
    "default_collate: batch must contain tensors": f"If the data set gives images of Pillow, {PREPARE}",
    "stack expects each tensor to be equal size": f"If the images have different sizes, {PREPARE}",
}


def check_loader(name: str, loader: object) -> None:
    """Check that `loader` can be iterated over. Its batches are checked when they are read.

    Raises:
        ArgumentError: it cannot, or it is a Dataset, which gives single images.
    """
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset) and not hasattr(loader, "__iter__"):
        raise ArgumentError(f"{name} is a data set ({type(loader).__name__}), which gives single images; {WRAP}")
    iterable = hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")
    if not iterable or isinstance(loader, str | bytes | Mapping | type | Tensor | numpy.ndarray):
        raise ArgumentError(f"{name}={_short(loader)} must be a DataLoader, or a list of (images, targets)")


def _short(value: object) -> str:
    """Return the value's text, or its type if the text is long or holds the pixels of images."""
    if isinstance(value, Tensor | numpy.ndarray):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 200 else f"a {type(value).__name__}"


def check_unpack(unpack: object) -> None:
    """Check that `unpack` is a function, or None.

    Raises:
        ArgumentError: it is not.
    """
    if unpack is not None and not callable(unpack):
        raise ArgumentError(f"unpack={unpack!r} must be a function from a batch to (images, targets)")


def reads_once(loader: object) -> bool:
    """Return whether a loader is a generator, or an iterator of Python (`zip`, `map`) or of a DataLoader: it ends for good."""
    return isinstance(loader, Iterator) and type(loader).__module__ in ("builtins", "itertools", DataLoader.__module__)


def length_or_none(loader: object) -> int | None:
    """Return `len(loader)`, or None if it has no length. A DataLoader may have a `__len__` that raises TypeError."""
    try:
        return len(loader)  # type: ignore[arg-type]  # the TypeError is caught
    except TypeError:
        return None


def explain_read_errors(loader: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches of a loader. Notes on its errors name a file that cannot be read, or say how to prepare the images."""
    try:
        yield from loader
    except OSError as error:
        path = _path_that_failed(error)
        error.add_note(
            "The data set could not read one of its files. If the message does not name it, read images with iz.open_image: "
            "ImageFolder(folder, iz.transforms(model), loader=iz.open_image)"
            if path is None
            else f"The file is {path}; replace or remove it"
        )
        raise
    except (RuntimeError, TypeError) as error:
        for note in (note for part, note in COLLATE_NOTES.items() if part in str(error)):
            error.add_note(note)
        raise


def _path_that_failed(error: OSError) -> str | None:
    """Return the path that the functions of the traceback were reading, as torchvision's ImageFolder calls it; None if none."""
    variables = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    paths = [values["path"] for values in variables if isinstance(values.get("path"), str | os.PathLike)]
    return os.fspath(paths[-1]) if paths else None


def unpack_batch(batch: Any, unpack: Unpack | None = None) -> tuple[Tensor, Tensor]:
    """Return the images and the targets of a batch. Arrays of NumPy become tensors.

    A batch is (images, targets), with anything after them, or a dict with one of `IMAGE_KEYS` and one of `TARGET_KEYS`.
    `unpack` makes one of these from any other batch.

    Raises:
        ArgumentError: it is not, or the images or the targets are no tensors.
    """
    batch = batch if unpack is None else unpack(batch)
    if isinstance(batch, Mapping):
        pair = tuple(_find(batch, keys) for keys in (IMAGE_KEYS, TARGET_KEYS))
    elif isinstance(batch, list | tuple) and len(batch) >= 2:
        pair = batch[0], batch[1]
    else:
        raise ArgumentError(f"a batch of type {type(batch).__name__} {_REMEDY}")
    images, targets = (torch.from_numpy(part.copy()) if isinstance(part, numpy.ndarray) else part for part in pair)
    if not isinstance(images, Tensor) or not isinstance(targets, Tensor) or not targets.ndim:
        kinds = f"{type(images).__name__}, {type(targets).__name__}"
        single = f"; if the loader is a data set, which gives single images, {WRAP}" if not _is_list(targets) else ""
        raise ArgumentError(f"a batch of type {type(batch).__name__} with ({kinds}) {_REMEDY}{single}")
    return images, targets


def _is_list(targets: object) -> bool:
    return isinstance(targets, list | tuple)


_REMEDY = (
    "must be two Tensors, (images, targets), with or without more behind them, or a dict with such keys as 'pixel_values' and "
    "'labels'; for anything else pass unpack=, a function from the batch to (images, targets)"
)


def _find(batch: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """Return the only value of the dict with one of the keys.

    Raises:
        ArgumentError: none is there, or several are.
    """
    found = [key for key in keys if key in batch]
    if len(found) != 1:
        raise ArgumentError(
            f"a batch with the keys {sorted(map(str, batch))} must have exactly one of {', '.join(map(repr, keys))}, and "
            f"has {found or 'none'}; for other keys pass unpack=, a function from the batch to (images, targets). Without "
            "it, a batch must be two Tensors, (images, targets), or such a dict"
        )
    return batch[found[0]]


def check_images(images: Tensor, targets: Tensor) -> None:
    """Check that there are images, in floating point, each with one target. The task checks the targets themselves.

    Raises:
        ArgumentError: the shape or the dtype of the images, or the number of targets, is wrong.
    """
    if images.ndim < 3:
        raise ArgumentError(
            f"images of shape {tuple(images.shape)} and {images.dtype} must be (n, channels, height, width). The first part of "
            "a batch is the images, the second the targets; for another order pass unpack=lambda batch: (batch[1], batch[2])"
        )
    if not images.is_floating_point():
        raise ArgumentError(f"images of {images.dtype} must be floating point; prepare them with transforms(model)")
    if not len(images) and not len(targets):
        raise ArgumentError(
            f"a batch with images of shape {tuple(images.shape)} is empty; leave empty batches out of the loader"
        )
    if len(targets) != len(images):
        single = f". If the loader is a data set, {WRAP}" if images.ndim <= 3 else ""
        raise ArgumentError(
            f"targets of shape {tuple(targets.shape)} must be one for each of the images, which have shape "
            f"{tuple(images.shape)}; class indices must be (n,) of torch.int64{single}"
        )


def move_batch(images: Tensor, targets: Tensor, parameter: Tensor, *, copy: bool = False) -> tuple[Tensor, Tensor]:
    """Return the batch on the device of `parameter`, always in other memory if `copy`.

    Images get its dtype, and targets in floating point too, but at least torch.float32.
    """
    dtype = loss_dtype(parameter.dtype) if targets.is_floating_point() else targets.dtype
    return images.to(parameter.device, parameter.dtype, copy=copy), targets.to(parameter.device, dtype, copy=copy)
