"""What the registry knows of a model, all of it data: network, paper, preprocessing, recipe, weight layouts. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from ..errors import ArgumentError, MismatchError, check_number, check_size, check_text
from ._network import Network

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LARGEST = 1e6  # no mean or standard deviation of images comes near
MAX_CHANNELS = 2**16  # of images: each has a mean and a deviation of its own
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """How images are prepared: `input_size` is (channels, height, width); mean and std are of images in 0..1."""

    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    crop_pct: float = 0.875

    def __post_init__(self) -> None:
        size = self.input_size
        check_size("input_size", size, most_channels=MAX_CHANNELS)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not isinstance(values, tuple) or len(values) != size[0] or not all(map(_moderate, values)):
                raise ArgumentError(f"{name}={values!r} must be {size[0]} numbers below {LARGEST:.0e}, one a channel")
        if any(value <= 0 for value in self.std):
            raise ArgumentError(f"std={self.std!r} must be above 0")
        if self.interpolation not in INTERPOLATIONS:
            raise ArgumentError(f"interpolation={self.interpolation!r} must be one of {', '.join(INTERPOLATIONS)}")
        if not _moderate(self.crop_pct) or not 0 < self.crop_pct <= 1:
            raise ArgumentError(f"crop_pct={self.crop_pct!r} must be a number with 0 < crop_pct <= 1")

    def sized(self, channels: int, height: int, width: int) -> DataConfig:
        """Return the configuration for other images; mean and std of other channels are the average of those known."""
        check_size("input_size", (channels, height, width), most_channels=MAX_CHANNELS)
        mean, std = self.mean, self.std
        if channels != len(mean):
            mean, std = ((sum(values) / len(values),) * channels for values in (mean, std))
        return replace(self, input_size=(channels, height, width), mean=mean, std=std)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain lists and numbers."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the configuration that `to_json` wrote.

        Raises:
            ArgumentError: a key is unknown or a value lies outside its range.
        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ArgumentError(f"data configuration: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return cls(**values)


def _moderate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


CIFAR = DataConfig(input_size=(3, 32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), crop_pct=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """SGD with these numbers and a cosine to 0: what `fit` uses where its caller says nothing else."""

    lr: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 3e-4

    def __post_init__(self) -> None:
        for item in fields(self):
            check_number(item.name, getattr(self, item.name))


@dataclass(frozen=True, slots=True)
class Layout:
    """How another library names the same tensors.

    `prefixes` are (ours, theirs): the first that starts a key is replaced. `inner` are (ours, theirs) replaced wherever
    they stand after that. `shapes` are (our key, their shape) of weights that they hold in another shape, as a dense layer
    or as a convolution; -1 stands for what follows from the rest.
    """

    name: str
    prefixes: tuple[tuple[str, str], ...]
    inner: tuple[tuple[str, str], ...] = ()
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def __post_init__(self) -> None:
        check_text("name", self.name)
        _pairs("prefixes", self.prefixes, "(ours, theirs), both strings", _is_text)
        _pairs("inner", self.inner, "(ours, theirs), both strings", _is_text)
        _pairs("shapes", self.shapes, "(our key, their shape), a string and a tuple of ints", _is_shape)

    def theirs(self, key: str) -> str:
        """Return their name of our `key`."""
        for ours, theirs in self.prefixes:
            if key.startswith(ours):
                key = theirs + key.removeprefix(ours)
                break
        for ours, theirs in self.inner:
            key = key.replace(ours, theirs)
        return key

    def table(self, keys: Iterable[str]) -> dict[str, str]:
        """Return {our key: their key}, a bijection.

        Raises:
            MismatchError: two keys of ours would share one of theirs.
        """
        table = {key: self.theirs(key) for key in keys}
        if len(set(table.values())) != len(table):
            raise MismatchError(f"layout {self.name!r} gives two tensors one name; mend its prefixes and inner rules")
        return table


def _pairs(name: str, pairs: object, what: str, second: Callable[[object], bool]) -> None:
    for pair in pairs if isinstance(pairs, tuple | list) else (None,):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str) or not second(pair[1]):
            raise ArgumentError(f"{name}={pairs!r} must be a tuple of pairs, {what}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple | list) and all(type(side) is int for side in value)


NATIVE = Layout("inceptionzoo", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Weights that somebody has published, and what their publisher says of them.

    `url` is their file's, or "hf-hub:owner/name". `digest` is "sha256:" or "sha1:" and the leading digits that the
    publisher names, "" where none are named (the Hub names its own); in a zip archive it is that of `member`. `top1` is
    the reported accuracy on ImageNet's validation images, in percent; `note` is another figure. `data` is how images are
    prepared for the converted weights: where the publisher's own take images in blue, green, red (`bgr`) or of another
    `scale` than 0..1, both are folded into the first convolution. `headless` ones have no classifier worth having.
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
    """A registered model. `network` is called with the model's own keyword arguments, or is the network itself."""

    name: str
    network: Callable[..., Network] | Network
    paper: str
    about: str = ""
    num_classes: int = 1000
    data: DataConfig = field(default_factory=DataConfig)
    recipe: Recipe = field(default_factory=Recipe)
    layouts: tuple[Layout, ...] = ()
    weights: Mapping[str, Published] = field(default_factory=dict)  # by tag, the default one first
