"""From an image to class names, by the preprocessing that the model's weights were trained with."""

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

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def transforms(model: Net | FeatureNet | Ensemble, training: bool = False, **options: Any) -> Callable[[Any], Tensor]:
    """Return the preprocessing of the model's images: a PIL image -> (c, h, w), of the model's own input size.

    It is `timm.data.create_transform` with the model's size, mean, std, interpolation and crop; `options` are further
    arguments of that function, such as `scale=(0.5, 1.0)` or `vflip=0.5` for training.

    Raises:
        ArgumentError: `model` is no model, `training` is no bool, or the function has no such argument.
    """
    from timm.data.transforms_factory import create_transform

    data = getattr(model, "data", None)
    if not isinstance(data, DataConfig):
        raise ArgumentError(f"model of type {type(model).__name__} must be a model of this library, as create_model makes them")
    check_flag("training", training)
    known = inspect.signature(create_transform).parameters
    if unknown := next((key for key in options if key not in known), None):
        given = f"{unknown}={options[unknown]!r}"
        raise ArgumentError(f"transforms takes no {given}{suggestion(unknown, known)} It takes {', '.join(known)}")
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
    """Return (class name, probability) of an image, the likeliest first; without names the class's number stands.

    `image` is a path, a PIL image, or a Tensor (c, h, w) that `transforms(model)` has prepared. The model's mode is as it
    was after the call.

    Raises:
        ArgumentError: the model has no classes, the image is none of these, or `topk` is below 1.
        InputError: a prepared Tensor does not fit the network.
    """
    data, classes = getattr(model, "data", None), getattr(model, "num_classes", None)
    if not isinstance(data, DataConfig) or not isinstance(classes, int):
        raise ArgumentError(
            f"model of type {type(model).__name__} must be a model of create_model or load_model, or an Ensemble"
        )
    if topk is not None:
        check_int("topk", topk, 1)
    if not model.num_classes:
        raise ArgumentError("predict: the model has num_classes=0; give it a classifier with reset_classifier")
    like = next(model.parameters())
    x = _prepared(model, image).to(like.device, like.dtype)
    with evaluation_mode(model):
        probabilities = model(x[None]).float().softmax(1)[0]
    names = model.class_names or tuple(map(str, range(model.num_classes)))
    order = probabilities.argsort(descending=True)[:topk]
    return [(names[index], float(probabilities[index])) for index in order.tolist()]


def _prepared(model: Net | Ensemble, image: Any) -> Tensor:
    from PIL import Image

    if isinstance(image, Tensor):
        if image.ndim != 3:
            raise ArgumentError(f"image of shape {tuple(image.shape)} must have shape (c, h, w); pass one at a time")
        return image
    if isinstance(image, str | os.PathLike):
        with Image.open(Path(image)) as opened:
            image = opened.convert(_mode(model))
    if not isinstance(image, Image.Image):
        raise ArgumentError(f"image of type {type(image).__name__}: predict takes a path, a PIL image or a prepared Tensor")
    return transforms(model)(image.convert(_mode(model)))


def _mode(model: Net | Ensemble) -> str:
    if model.in_chans not in MODES:
        raise ArgumentError(f"a model of in_chans={model.in_chans} takes no image file; pass a prepared Tensor (c, h, w)")
    return MODES[model.in_chans]
