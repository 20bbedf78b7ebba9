"""Preprocess images for a model and predict their classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import cache, partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, ZooError, check_int, plain_int
from ..evaluation import check_logits, check_range, evaluation_mode, task_of
from ..nn import Net, check_has_values
from ..spec import AXES, DataConfig
from ._decode import MODES
from ._ensemble import Ensemble
from ._image import check_dense, open_image
from ._image_folders import image_paths
from ._transforms import data_config, transforms

Prediction: TypeAlias = list[tuple[str, float]]


@overload
def predict(
    model: Net | Ensemble,
    image: list[Any] | tuple[Any, ...] | Generator[Any, None, None],
    *,
    topk: int | None = None,
    batch_size: int = 32,
) -> list[Prediction]: ...
@overload
def predict(model: Net | Ensemble, image: Any, *, topk: int | None = None, batch_size: int = 32) -> Prediction: ...
def predict(model: Net | Ensemble, image: Any, *, topk: int | None = None, batch_size: int = 32) -> Any:
    """Return (class name, probability) for the classes of an image, the most probable first.

    For a binary model of one output these are both classes, for a multilabel model all labels, each with a probability of its
    own. A regression model gives (name, value) in the order of its outputs.

    - `image` is whatever `open_image` takes, for example a path, bytes, a PIL image or a NumPy array, and is read by
      `transforms(model)`. A Tensor (c, h, w) of uint8 holds pixels from 0 to 255; a floating-point Tensor is the result of
      `transforms(model)`.
    - A list, tuple or iterator of images gives a list of such answers in the same order, computed `batch_size` images at a
      time, for example `predict(model, Path("moles").glob("*.jpg"))`.
    - The path of a folder gives a dict {path: answer}, sorted by path, of the images in it and in its folders. Images are the
      files with the extensions that torchvision's ImageFolder reads. Hidden files and folders are left out.

    `topk` limits the number of classes. Without class names, the names are the indices "0", "1", ... The model runs in
    evaluation mode; its mode is restored.

    Raises:
        ArgumentError: the model has no classes; `image` has the wrong type or shape, or values that `transforms(model)`
            cannot give; the folder has no images; `topk` or `batch_size` is below 1.
        InputError: a Tensor is too small for the network or has the wrong number of channels.
        ImageError: a file is not an image, or is damaged. The message names the file.
        OSError: a file cannot be opened.
    """
    topk, batch_size = plain_int(topk), plain_int(batch_size)
    _check_arguments(model, topk, batch_size)
    if isinstance(image, str | os.PathLike) and os.path.isdir(image):
        paths = image_paths(Path(image))
        return dict(zip(paths, _predict_all(model, paths, topk, batch_size), strict=True))
    is_file = hasattr(image, "read")  # files are iterators too
    if isinstance(image, list | tuple) or (isinstance(image, Iterator) and not is_file):
        return list(_predict_all(model, image, topk, batch_size))
    return next(_predict_all(model, [image], topk, 1))


def _check_arguments(model: object, topk: int | None, batch_size: int) -> None:
    if isinstance(model, Net | Ensemble):
        data_config(model)
    data, num_classes = getattr(model, "data", None), getattr(model, "num_classes", None)
    if not isinstance(data, DataConfig) or not isinstance(num_classes, int):
        hint = "; pass model.module" if isinstance(getattr(model, "module", None), Net | Ensemble) else ""
        hint = f"; pass load_model({os.fspath(model)!r})" if isinstance(model, str | os.PathLike) else hint
        kind = type(model).__name__
        raise ArgumentError(f"model of type {kind} must be a model from create_model or load_model, or an Ensemble{hint}")
    if isinstance(model, nn.Module):
        check_has_values(model)
    if topk is not None:
        check_int("topk", topk, 1)
    check_int("batch_size", batch_size, 1)
    if not num_classes:
        raise ArgumentError("predict: the model has num_classes=0; give it a classifier with reset_classifier")


def predict_files(
    model: Net | Ensemble,
    paths: Iterable[str],
    *,
    topk: int | None = None,
    batch_size: int = 32,
    on_error: Callable[[str, Exception], None],
) -> Iterator[tuple[str, Prediction]]:
    """Yield (path, answer) as `predict` computes it. A file that cannot be read is left out: `on_error` gets its error.

    Raises:
        ArgumentError: as `predict`.
    """
    _check_arguments(model, topk, batch_size)
    check_takes_images(model)
    remaining, make_transform = iter(paths), cache(partial(transforms, model))
    while chunk := list(islice(remaining, batch_size)):
        readable, tensors = [], []
        for path in chunk:
            try:
                tensors.append(_prepare(model, path, make_transform))
            except (ZooError, OSError) as error:
                on_error(path, error)
            else:
                readable.append(path)
        yield from zip(readable, _predict_all(model, tensors, topk, batch_size), strict=True)


def _predict_all(model: Net | Ensemble, images: Iterable[Any], topk: int | None, batch_size: int) -> Iterator[Prediction]:
    """Yield the answer for each image. Consecutive images of one size run as a batch."""
    parameter, remaining, make_transform = next(model.parameters()), iter(images), cache(partial(transforms, model))
    while chunk := list(islice(remaining, batch_size)):
        prepared = list(map(partial(_prepare, model, make_transform=make_transform), chunk))
        tensors = [tensor.to(parameter.device, parameter.dtype) for tensor in prepared]
        for _, group in groupby(tensors, key=lambda tensor: tensor.shape):
            with evaluation_mode(model):
                logits = model(torch.stack(list(group))).float()
            task = task_of(model, logits.shape[1])
            check_logits(model, task)
            for row in logits:
                yield task.answers(row, model.class_names)[:topk]


def _prepare(model: Net | Ensemble, image: Any, make_transform: Callable[[], Callable[[Any], Tensor]]) -> Tensor:
    """Return the image as a Tensor (c, h, w) that is normalised as the model expects."""
    if isinstance(image, Tensor) and image.is_floating_point():
        data = data_config(model)
        if image.ndim != len(data.input_size):
            expected = f"(c, {', '.join(AXES[len(data.size)])})"
            remedy = "image[None]" if image.ndim < len(data.input_size) else "a batch as list(images)"
            raise ArgumentError(f"image of shape {tuple(image.shape)} must have shape {expected}; pass {remedy}")
        check_dense(image)
        check_range(image, data, stacklevel=4)  # the call of predict
        return image
    check_takes_images(model)
    picture = open_image(image, channels=model.in_chans)  # refuses before a tensor is made
    return make_transform()(picture)


def check_takes_images(model: Net | Ensemble) -> None:
    """Check that the model takes images, and that an image file has as many channels.

    Raises:
        ArgumentError: it has not.
    """
    dims = len(data_config(model).size)
    if dims != 2:
        raise ArgumentError(
            f"a model of spatial_dims={dims} takes no image file; pass a float Tensor (c, {', '.join(AXES[dims])})"
        )
    if model.in_chans not in MODES:
        raise ArgumentError(f"a model of in_chans={model.in_chans} takes no image file; pass a float Tensor (c, h, w)")
