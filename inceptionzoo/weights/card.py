"""What a file of ours says of its model: enough to build it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ..entry import DataConfig
from ..errors import ArgumentError, FileError
from ..net import Net

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The header's description of a model; every value is plain JSON.

    `channels_last` keeps the memory format that the model computed in: the file's tensors are contiguous either way, and
    a model read back computes the same bits.
    """

    architecture: str
    num_classes: int
    in_chans: int
    global_pool: str
    drop_rate: float
    aux: bool
    channels_last: bool
    arguments: Mapping[str, Any]
    data: Mapping[str, Any]
    class_names: list[str] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    version: int = VERSION

    def to_json(self) -> str:
        """Return the card as JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the card that `to_json` wrote.

        Raises:
            FileError: it is no such JSON, a key is missing or unknown, a value has another type, or the version is newer.
        """
        try:
            values = json.loads(text)
            version = values.get("version")
            if version != VERSION:
                raise FileError(f"the file has format version {version!r}, this library reads {VERSION}; upgrade it")
            card = cls(**values)
            card._check()
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise FileError(f"the file's header does not describe a model: {error}; save it again") from error
        return card

    def _check(self) -> None:
        kinds: dict[str, type | tuple[type, ...]] = {
            "architecture": str,
            "num_classes": int,
            "in_chans": int,
            "global_pool": str,
            "drop_rate": float,
            "aux": bool,
            "channels_last": bool,
            "arguments": dict,
            "data": dict,
            "class_names": (list, type(None)),
            "metrics": dict,
        }
        for key, kind in kinds.items():
            if not isinstance(getattr(self, key), kind):
                raise TypeError(f"{key}={getattr(self, key)!r} has the wrong type")
        DataConfig.from_json(self.data)


def card_of(model: Net, *, class_names: list[str] | tuple[str, ...] | None, metrics: Mapping[str, float] | None) -> Card:
    """Return the card of a model.

    Raises:
        ArgumentError: the model has no name in a registry, an argument of its own is no plain value, or the class names
            do not fit.
    """
    if model.entry is None:
        raise ArgumentError(
            "this network has no name to be built again by: register_model('my_net', network), then create_model('my_net')"
        )
    names = model.class_names if class_names is None else tuple(class_names)
    if names is not None and len(names) != model.num_classes:
        raise ArgumentError(f"class_names={names!r} must be {model.num_classes} names, one a class")
    card = Card(
        architecture=model.entry.name,
        num_classes=model.num_classes,
        in_chans=model.in_chans,
        global_pool=model.global_pool,
        drop_rate=float(model.head.drop.p),
        aux=bool(model.aux),
        channels_last=model.is_channels_last,
        arguments=model.arguments,
        data=model.data.to_json(),
        class_names=None if names is None else list(names),
        metrics={name: float(value) for name, value in (metrics or {}).items()},
    )
    try:
        text = card.to_json()
    except TypeError as error:
        raise ArgumentError(f"arguments {model.arguments!r} must be plain values to be saved: {error}") from error
    return Card.from_json(text)


def as_arguments(card: Card) -> dict[str, Any]:
    """Return the model's own arguments, lists as the tuples that they were."""
    return {key: _tuple(value) for key, value in card.arguments.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
