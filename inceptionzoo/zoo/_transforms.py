"""The preprocessing of a model's images."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ..errors import ArgumentError, check_flag, suggestion
from ..nn import FeatureNet, Net
from ..spec import DataConfig
from ._decode import MODES
from ._ensemble import Ensemble
from ._image import open_image


def transforms(model: Net | FeatureNet | Ensemble, training: bool = False, **options: Any) -> Callable[[Any], Tensor]:
    """Return the model's preprocessing: a function from an image to a Tensor (c, h, w) of the model's input size.

    It reads the image with `open_image` in the model's number of channels, so it takes what that takes: a PIL image of any
    mode, a NumPy array, a path. Then it applies `timm.data.create_transform` with the input size, mean, standard deviation,
    interpolation and crop of `model.data`. With `training=True` it also augments the image. `options` are further arguments
    of timm's function, for example `scale=(0.5, 1.0)`, `vflip=0.5` or `crop_mode="squash"`. The function can be pickled.

    A model of another number of channels than 1, 3 or 4 gets timm's function alone, which takes a float Tensor (c, h, w).

    Raises:
        ArgumentError: `model` is not a model of this library, `training` is not a bool, or an option is unknown.
    """
    from timm.data.transforms_factory import create_transform
    from torchvision.transforms import Compose

    data = data_config(model)
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
        "crop_mode": data.crop_mode,
        "is_training": training,
    }
    transform = create_transform(**{**settings, **options})
    if data.input_size[0] not in MODES:
        return transform  # type: ignore[no-any-return]  # timm has no types
    read = partial(open_image, channels=data.input_size[0])
    if isinstance(transform, tuple):  # separate=True
        return (Compose([read, *transform[0].transforms]), *transform[1:])  # type: ignore[return-value]
    prepare: Callable[[Any], Tensor] = Compose([read, *transform.transforms])
    return prepare


def data_config(model: Net | FeatureNet | Ensemble) -> DataConfig:
    """Return `model.data` for the model's number of channels; a model of `build` has the default of 3 channels.

    Raises:
        ArgumentError: `model` is not a model of this library.
    """
    data = getattr(model, "data", None)
    if not isinstance(data, DataConfig):
        raise ArgumentError(f"model of type {type(model).__name__} must be a model of this library; see create_model")
    return data.sized(model.in_chans, *data.input_size[1:])
