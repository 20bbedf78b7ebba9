"""Preprocess an image for a model and predict its class."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ArgumentError, check_flag, check_int, suggestion
from ..evaluation import evaluation_mode
from ..nn import FeatureNet, Net
from ..spec import DataConfig
from ._ensemble import Ensemble

PIL_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by number of channels


def transforms(model: Net | FeatureNet | Ensemble, training: bool = False, **options: Any) -> Callable[[Any], Tensor]:
    """Return the model's preprocessing: a function from a PIL image to a Tensor (c, h, w) of the model's input size.

    It is `timm.data.create_transform` with the input size, mean, standard deviation, interpolation and crop of
    `model.data`. With `training=True` it also augments the image. `options` are further arguments of that
    function, for example `scale=(0.5, 1.0)` or `vflip=0.5`.

    Raises:
        ArgumentError: `model` is not a model of this library, `training` is not a bool, or an option is unknown.
    """
    from timm.data.transforms_factory import create_transform

    data = getattr(model, "data", None)
    if not isinstance(data, DataConfig):
        raise ArgumentError(f"model of type {type(model).__name__} must be a model of this library; see create_model")
    check_flag("training", training)
    accepted = inspect.signature(create_transform).parameters
    if unknown := next((key for key in options if key not in accepted), None):
        hint = f"{suggestion(unknown, accepted)} It takes {', '.join(accepted)}"
        raise ArgumentError(f"transforms: unknown option {unknown}={options[unknown]!r}{hint}")
    settings = {
        "input_size": data.input_size,
        "mean": data.mean,
        "std": data.std,
        "interpolation": data.interpolation,
        "crop_pct": data.crop_pct,
        "is_training": training,
    }
    transform: Callable[[Any], Tensor] = create_transform(**{**settings, **options})
    return transform


def predict(model: Net | Ensemble, image: Any, *, topk: int | None = None) -> list[tuple[str, float]]:
    """Return (class name, probability) for the classes of an image, the most probable first.

    `image` is a path, a PIL image, or a Tensor (c, h, w) from `transforms(model)`. `topk` limits the number of classes.
    Without class names, the names are the indices "0", "1", ... The model runs in evaluation mode; its mode is restored.

    Raises:
        ArgumentError: the model has no classes, `image` has the wrong type or shape, or `topk` is below 1.
        InputError: a Tensor is too small for the network or has the wrong number of channels.
        OSError: the file cannot be read, or is not an image.
    """
    data, num_classes = getattr(model, "data", None), getattr(model, "num_classes", None)
    if not isinstance(data, DataConfig) or not isinstance(num_classes, int):
        raise ArgumentError(
            f"model of type {type(model).__name__} must be a model from create_model or load_model, or an Ensemble"
        )
    if topk is not None:
        check_int("topk", topk, 1)
    if not num_classes:
        raise ArgumentError("predict: the model has num_classes=0; give it a classifier with reset_classifier")
    parameter = next(model.parameters())
    x = _prepare(model, image).to(parameter.device, parameter.dtype)
    with evaluation_mode(model):
        probabilities = model(x[None]).float().softmax(1)[0]
    names = model.class_names or tuple(map(str, range(num_classes)))
    order = probabilities.argsort(descending=True)[:topk]
    return [(names[index], float(probabilities[index])) for index in order.tolist()]


def _prepare(model: Net | Ensemble, image: Any) -> Tensor:
    """Return the image as a Tensor (c, h, w)."""
    from PIL import Image

    if isinstance(image, Tensor):
        if image.ndim != 3:
            raise ArgumentError(f"image of shape {tuple(image.shape)} must have shape (c, h, w); pass one image at a time")
        return image
    if isinstance(image, str | os.PathLike):
        with Image.open(Path(image)) as opened:
            image = opened.convert(_pil_mode(model))
    if not isinstance(image, Image.Image):
        raise ArgumentError(f"image of type {type(image).__name__}: predict takes a path, a PIL image or a Tensor (c, h, w)")
    return transforms(model)(image.convert(_pil_mode(model)))


def _pil_mode(model: Net | Ensemble) -> str:
    if model.in_chans not in PIL_MODES:
        raise ArgumentError(f"a model of in_chans={model.in_chans} takes no image file; pass a Tensor (c, h, w)")
    return PIL_MODES[model.in_chans]
