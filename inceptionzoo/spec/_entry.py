"""A model's entry in the registry: network, paper, preprocessing, training recipe, published weights. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import check_number
from ._data_config import DataConfig
from ._layout import Layout
from ._network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The defaults of `fit` for a model: SGD with these values and a learning rate that falls to 0 along a cosine."""

    lr: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 3e-4

    def __post_init__(self) -> None:
        for item in fields(self):
            check_number(item.name, getattr(self, item.name))


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
