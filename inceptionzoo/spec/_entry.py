"""A model's entry in the registry: network, paper, preprocessing, training recipe, weight layouts. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from ..errors import ArgumentError, MismatchError, check_choice, check_number, check_size, check_text
from ._geometry import change_dims
from ._network import Network

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The defaults of `fit` for a model: SGD with these values and a learning rate that falls to 0 along a cosine."""

    lr: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 3e-4

    def __post_init__(self) -> None:
        for item in fields(self):
            check_number(item.name, getattr(self, item.name))


@dataclass(frozen=True, slots=True)
class Layout:
    """The names that another library gives to the same tensors. "ours" is this library, "theirs" the other one.

    To translate our key, the first prefix in `prefixes`, pairs (ours, theirs), that the key starts with is replaced. Then each
    pair (ours, theirs) of `inner` is replaced wherever it occurs. `shapes` lists (our key, their shape) for weights that the
    other library stores in another shape, for example a dense layer as a convolution; -1 is inferred, as in `Tensor.reshape`.
    `flattened` lists (our key, (c, h, w)) for dense layers on a map of that shape if the other library flattens the map in the
    order (h, w, c). `arguments` are those with which our network is the other library's. `data` is the preprocessing of the
    other library, if it has one for all its weights; None if each file may have another.

    Raises:
        ArgumentError: a field has the wrong type.
    """

    name: str
    prefixes: tuple[tuple[str, str], ...]
    inner: tuple[tuple[str, str], ...] = ()
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    flattened: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data: DataConfig | None = None

    has_other_layers: ClassVar[bool] = False  # whether a file may hold layers of the user's own beside the network's

    def __post_init__(self) -> None:
        check_text("name", self.name)
        _check_pairs("prefixes", self.prefixes, "(ours, theirs), both strings", _is_text)
        _check_pairs("inner", self.inner, "(ours, theirs), both strings", _is_text)
        _check_pairs("shapes", self.shapes, "(our key, their shape), a string and a tuple of ints", _is_shape)
        _check_pairs("flattened", self.flattened, "(our key, (c, h, w)), a string and a tuple of ints", _is_shape)

    @property
    def can_be_written(self) -> bool:
        """Whether files of this layout are written, not only read."""
        return True

    def theirs(self, key: str) -> str:
        """Return the other library's name for our `key`."""
        for ours, theirs in self.prefixes:
            if key.startswith(ours):
                key = theirs + key.removeprefix(ours)
                break
        for ours, theirs in self.inner:
            key = key.replace(ours, theirs)
        return key

    def table(self, keys: Iterable[str]) -> dict[str, str]:
        """Return {our key: their key}. The mapping is one-to-one.

        Raises:
            MismatchError: two of our keys get the same name.
        """
        table = {key: self.theirs(key) for key in keys}
        if len(set(table.values())) != len(table):
            raise MismatchError(f"layout {self.name!r} gives two tensors the same name; correct its prefixes and inner rules")
        return table


def _check_pairs(name: str, pairs: object, description: str, accepts_second: Callable[[object], bool]) -> None:
    for pair in pairs if isinstance(pairs, tuple | list) else (None,):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str) or not accepts_second(pair[1]):
            raise ArgumentError(f"{name}={pairs!r} must be a tuple of pairs, {description}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple | list) and all(type(side) is int for side in value)


NATIVE = Layout("inceptionzoo", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Published weights, and what their publisher states about them.

    `url` is a file's URL, or "hf-hub:owner/name". `digest` is "sha256:", "sha1:" or "md5:" and the leading hexadecimal digits
    that the publisher states, or "" if the publisher states none; the Hub provides its own. For a zip archive, `member` is the
    file in it, and `digest` is of that file. `top1` is the reported accuracy on ImageNet's validation images in percent;
    `note` is another reported figure. `layout` is the name of the entry's `Layout` for them, `arguments` are the network's
    keywords.

    `data` is the preprocessing for the converted weights. If the publisher's weights expect BGR images (`bgr`), or pixel values
    from 0 to `scale` instead of 0 to 1, the conversion changes the first convolution to match. `headless` weights have no
    usable classifier.
    """

    url: str
    license: str
    layout: str
    data: DataConfig
    digest: str = ""
    member: str = ""
    top1: float | None = None
    note: str = ""
    num_classes: int = 1000
    arguments: Mapping[str, Any] = field(default_factory=dict)
    bgr: bool = False
    scale: float = 1.0
    headless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A registered model. `network` is a network or a function that returns one; `create_model` passes it keywords.

    `weights` maps tags to published weights; the first tag is the default.
    """

    name: str
    network: Callable[..., Network] | Network
    paper: str
    about: str = ""
    num_classes: int = 1000
    data: DataConfig = field(default_factory=DataConfig)
    recipe: Recipe = field(default_factory=Recipe)
    layouts: tuple[Layout, ...] = ()
    weights: Mapping[str, Published] = field(default_factory=dict)
