"""The preprocessing of a model's images."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ..errors import ArgumentError, check_choice, check_flag, plain_int, suggestion
from ..nn import FeatureNet, Net
from ..spec import CROP_MODES, DataConfig
from ._decode import MODES
from ._ensemble import Ensemble
from ._image import open_image

TEST_OPTIONS = ("crop_pct", "crop_mode", "crop_border_pixels")  # that timm ignores in training
ERASING_OPTIONS = ("re_mode", "re_count", "re_num_splits")
JITTER_OPTIONS = ("color_jitter", "color_jitter_prob")
AUGMENTATIONS = (
    *("train_crop_mode", "scale", "ratio", "hflip", "vflip", "grayscale_prob", "gaussian_blur_prob", "auto_augment", "re_prob"),
    *("separate", *ERASING_OPTIONS, *JITTER_OPTIONS),
)
SEQUENCE_OPTIONS = ("naflex", "max_seq_len", "tf_preprocessing")  # for transformers, and for TensorFlow


def transforms(model: Net | FeatureNet | Ensemble, training: bool = False, **options: Any) -> Callable[[Any], Tensor]:
    """Return the model's preprocessing: a function from an image to a Tensor (c, h, w) of the model's input size.

    It reads the image with `open_image` in the model's number of channels, so it takes what that takes: a PIL image of any
    mode, a NumPy array, a path. Then it applies `timm.data.create_transform` with the input size, mean, standard deviation,
    interpolation and crop of `model.data`. With `training=True` it also augments the image. `options` are further arguments
    of timm's function, for example `scale=(0.5, 1.0)`, `vflip=0.5` or `crop_mode="squash"`. The function can be pickled.

    A model of another number of channels than 1, 3 or 4 gets timm's function alone, which takes a float Tensor (c, h, w).

    Raises:
        ArgumentError: `model` is not a model of this library, `training` is not a bool, an option is unknown, has no effect, or
            has another value than timm accepts, or the mean or the standard deviation is not that of pixels from 0 to 1.
    """
    from timm.data.transforms_factory import create_transform
    from torchvision.transforms import Compose

    data = data_config(model)
    check_flag("training", training)
    if len(data.size) != 2:
        raise ArgumentError(
            f"transforms prepares images, and the model has spatial_dims={len(data.size)}; prepare its tensors yourself"
        )
    accepted = ["training", *inspect.signature(create_transform).parameters]
    if unknown := next((key for key in options if key not in accepted), None):
        accepted.remove("is_training")  # timm's name of `training`
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
    _check_options(options, training=training, channels=data.input_size[0])
    if data.input_size[0] in MODES:
        _check_scale({**settings, **options})
    try:
        transform = create_transform(**{**settings, **options})
    except (AssertionError, TypeError, ValueError, KeyError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ArgumentError(f"transforms: timm does not accept {given}: {type(error).__name__} {error}") from error
    if data.input_size[0] not in MODES:
        return transform  # type: ignore[no-any-return]  # timm has no types
    read = partial(open_image, channels=data.input_size[0])
    if isinstance(transform, tuple):  # separate=True
        return (Compose([read, *transform[0].transforms]), *transform[1:])  # type: ignore[return-value]
    prepare: Callable[[Any], Tensor] = Compose([read, *transform.transforms])
    return prepare


def _check_options(options: dict[str, Any], *, training: bool, channels: int) -> None:
    """Check the options that timm would ignore, or refuse for the first image only.

    Raises:
        ArgumentError: an option has no effect with or without `training`, or is not for this number of channels; or a value is
            not one of timm's.
    """
    from timm.data.transforms import str_to_interp_mode

    if "is_training" in options:
        raise ArgumentError(f"transforms: pass training={options['is_training']!r} in place of is_training")
    for name, reason in _ignored_options(options, training=training).items():
        if name in options:
            raise ArgumentError(f"transforms: {name}={options[name]!r} has no effect {reason}")
    if "input_size" in options:
        _check_input_size(options["input_size"], channels)
    if "crop_mode" in options:
        check_choice("crop_mode", options["crop_mode"], CROP_MODES)
    if "crop_pct" in options and (not isinstance(options["crop_pct"], int | float) or not options["crop_pct"] > 0):
        raise ArgumentError(f"transforms: crop_pct={options['crop_pct']!r} must be a number above 0")
    try:
        if not training or options.get("interpolation") != "random":
            str_to_interp_mode(options.get("interpolation", "bilinear"))  # type: ignore[no-untyped-call]
    except KeyError as error:
        raise ArgumentError(f"transforms: interpolation={options['interpolation']!r} is not one of timm's") from error
    for name in ("auto_augment", "grayscale_prob"):
        if channels == max(MODES) and options.get(name):
            raise ArgumentError(f"transforms: {name} is for images of 1 or 3 channels; the model has in_chans={channels}")


def _check_input_size(size: object, channels: int) -> None:
    """Check that `size` is an int, (height, width) or (channels, height, width) of positive ints, and has these channels."""
    sides = [plain_int(side) for side in size] if isinstance(size, tuple | list) else [plain_int(size)] * 2
    if len(sides) not in (2, 3) or not all(type(side) is int and side > 0 for side in sides):
        form = f"a positive int, (height, width) or ({channels}, height, width)"
        raise ArgumentError(f"transforms: input_size={size!r} must be {form}")
    if len(sides) == 3 and sides[0] != channels:
        raise ArgumentError(
            f"transforms: input_size={size!r}: the model has in_chans={channels}; pass ({channels}, height, width)"
        )


def _ignored_options(options: dict[str, Any], *, training: bool) -> dict[str, str]:
    """Return the names of the options that timm ignores beside the others, and why."""
    change = f"with training={training}; leave it out, or pass training={not training}"
    ignored = dict.fromkeys(TEST_OPTIONS if training else (*AUGMENTATIONS, "no_aug"), change)
    ignored |= dict.fromkeys(SEQUENCE_OPTIONS, "on the images of these models; leave it out")
    if training and not options.get("re_prob"):
        ignored |= dict.fromkeys(ERASING_OPTIONS, "without re_prob; pass re_prob too")
    if not options.get("patchify"):
        ignored["patch_size"] = "without patchify; leave it out"
    if options.get("no_aug"):
        ignored |= dict.fromkeys(AUGMENTATIONS, "with no_aug=True; leave one of them out")
    if (augment := options.get("auto_augment")) and "3a" not in str(augment):
        ignored |= dict.fromkeys(JITTER_OPTIONS, f"with auto_augment={augment!r}; leave one of them out")
    return ignored


def _check_scale(settings: dict[str, Any]) -> None:
    """Check that the mean and the standard deviation are those of pixels from 0 to 1.

    Raises:
        ArgumentError: they are not, so that all images would look alike to the model.
    """
    for name in ("mean", "std"):
        values = settings[name] if isinstance(settings[name], tuple | list) else (settings[name],)
        if not all(isinstance(value, int | float) for value in values) or (name == "std" and 0 in values):
            raise ArgumentError(f"transforms: {name}={settings[name]!r} must be numbers from 0 to 1; std must be above 0")
        if not all(0 <= value <= 1 for value in values):
            raise ArgumentError(
                f"{name}={settings[name]!r} must be from 0 to 1, because pixels are divided by 255 first; divide {name} by 255 "
                "if it is that of pixels from 0 to 255"
            )


def data_config(model: Net | FeatureNet | Ensemble) -> DataConfig:
    """Return `model.data` for the model's number of channels; a model of `build` has the default of 3 channels.

    Raises:
        ArgumentError: `model` is not a model of this library.
    """
    data = getattr(model, "data", None)
    if isinstance(model, Net | FeatureNet | Ensemble) and not isinstance(data, DataConfig):
        raise ArgumentError(f"model.data={data!r} must be a DataConfig, for example dataclasses.replace(model.data, ...)")
    if not isinstance(data, DataConfig):
        raise ArgumentError(f"model of type {type(model).__name__} must be a model of this library; see create_model")
    return data.sized(model.in_chans, *data.size)
