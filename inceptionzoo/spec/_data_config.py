"""The preprocessing of images. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from ..errors import ArgumentError, check_choice, check_size
from ._geometry import change_dims

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_PIXEL_VALUE = 1e6
MAX_CHANNELS = 2**16  # of an image
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
CROP_MODES = ("center", "squash", "border")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The preprocessing of images: `input_size` is (channels, height, width) in pixels, `mean` and `std` are per channel.

    In one dimension `input_size` is (channels, length), in three (channels, depth, height, width).
    Pixel values are between 0 and 1 before `mean` is subtracted and the result is divided by `std`. `crop_pct` is the size of
    the centre crop as a fraction of the resized image. `crop_mode` says how an image that is not square is resized before
    the crop, with timm's names: "center" by its shorter side, so that the crop loses the ends of the longer one; "squash" to
    the wanted sides, without keeping the proportions, as models trained with Keras expect; "border" by its longer side, with
    borders in the colour of `mean`.

    Raises:
        ArgumentError: a field is outside its range.
    """

    input_size: tuple[int, ...] = (3, 224, 224)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    crop_pct: float = 0.875
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        size = self.input_size
        check_size("input_size", size, max_channels=MAX_CHANNELS)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not isinstance(values, tuple) or len(values) != size[0] or not all(map(_is_pixel_value, values)):
                raise ArgumentError(
                    f"{name}={values!r} must be a tuple of {size[0]} numbers below {MAX_PIXEL_VALUE:.0e}, one per channel"
                )
        if any(value <= 0 for value in self.std):
            raise ArgumentError(f"std={self.std!r} must be above 0")
        if self.interpolation not in INTERPOLATIONS:
            raise ArgumentError(f"interpolation={self.interpolation!r} must be one of {', '.join(INTERPOLATIONS)}")
        if not _is_pixel_value(self.crop_pct) or not 0 < self.crop_pct <= 1:
            raise ArgumentError(f"crop_pct={self.crop_pct!r} must be a number with 0 < crop_pct <= 1")
        check_choice("crop_mode", self.crop_mode, CROP_MODES)

    @property
    def value_range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The values of black and of white after normalisation, one of each per channel."""
        pairs = list(zip(self.mean, self.std, strict=True))
        return tuple(-mean / std for mean, std in pairs), tuple((1 - mean) / std for mean, std in pairs)

    @property
    def size(self) -> tuple[int, ...]:
        """The size of an image without its channels: (height, width)."""
        return self.input_size[1:]

    def with_spatial_dims(self, dims: int) -> DataConfig:
        """Return the configuration for inputs of `dims` dimensions: (width,) or (height, height, width) of an image's size.

        It is the configuration itself if it has these dimensions.
        """
        if len(self.size) == dims:
            return self
        return replace(self, input_size=(self.input_size[0], *change_dims(self.size, dims)))

    def sized(self, channels: int, *size: int) -> DataConfig:
        """Return the configuration for images of another size, (height, width).

        For another number of channels, the mean and std of each channel are the averages over the current channels.
        """
        check_size("input_size", (channels, *size), max_channels=MAX_CHANNELS)
        mean, std = self.mean, self.std
        if channels != len(mean):
            mean, std = ((sum(values) / len(values),) * channels for values in (mean, std))
        return replace(self, input_size=(channels, *size), mean=mean, std=std)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as a dict of strings, numbers and lists; `crop_mode` only if it is not "center".

        Version 0.1 does not know `crop_mode`, and can read a file without it.
        """
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        if self.crop_mode == "center":
            del values["crop_mode"]
        return values

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the configuration that `to_json` wrote.

        Raises:
            ArgumentError: a key is unknown, or a value is outside its range.
        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ArgumentError(f"data configuration: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return cls(**values)


def _is_pixel_value(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -MAX_PIXEL_VALUE < value < MAX_PIXEL_VALUE


CIFAR = DataConfig(input_size=(3, 32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), crop_pct=1.0)
