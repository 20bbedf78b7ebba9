"""What a file of ours says of its model: enough to build it again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from ..errors import ArgumentError, FileError, check_choice, check_int, check_rate, check_text
from ..nn import Net, check_class_names
from ..spec import GLOBAL_POOLS, MAX_CHANNELS, DataConfig

VERSION = 1
LONGEST = 200  # characters of a name
KINDS = {
    "architecture": str,
    "num_classes": int,
    "in_chans": int,
    "global_pool": str,
    "drop_rate": float,
    "aux": bool,
    "channels_last": bool,
    "fused": bool,
    "arguments": dict,
    "data": dict,
    "metrics": dict,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """The header's description of a model; every value is plain JSON.

    `channels_last` keeps the memory format that the model computed in: the file's tensors are contiguous either way, and
    a model read back computes the same bits. `fused` says that the weights are those of the inference form.
    """

    architecture: str
    num_classes: int
    in_chans: int
    global_pool: str
    drop_rate: float
    aux: bool
    channels_last: bool
    fused: bool
    arguments: Mapping[str, Any]
    data: Mapping[str, Any]
    class_names: list[str] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    version: int = VERSION

    def to_json(self) -> str:
        """Return the card as JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> Self:
        """Return the card that `to_json` wrote; `name` is the file's, for errors.

        Raises:
            FileError: it is no such JSON, a key is missing or unknown, a value has another type or lies outside its range,
                or the version is newer.
        """
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError(f"{type(values).__name__} must be an object")
            if values.get("kind") == "training":
                raise FileError(f"{name} holds a training, not a model; best.safetensors beside it is one")
            if values.get("kind") == "ensemble":
                raise FileError(f"{name} holds an ensemble, not a model; Ensemble.load reads it")
            version = values.get("version")
            if type(version) is not int or version != VERSION:
                raise FileError(f"{name} has format version={version!r}, this library reads {VERSION}; upgrade it")
            values.setdefault("fused", False)  # which the first files do not say
            known = {item.name for item in fields(cls)}
            if wrong := sorted(known ^ set(values)):
                raise ValueError(f"{wrong[0]!r} is {'missing' if wrong[0] in known else 'unknown'}")
            card = cls(**values)
            card._check()
        except (ValueError, TypeError, RecursionError) as error:
            raise FileError(f"{name}: its header does not describe a model: {error}; save it again") from error
        return card

    def _check(self) -> None:
        for key, kind in KINDS.items():
            if type(getattr(self, key)) is not kind:
                raise TypeError(f"{key}={getattr(self, key)!r} must be of type {kind.__name__}")
        for key in (self.architecture, *self.arguments, *self.metrics):
            if isinstance(key, str) and len(key) > LONGEST:
                raise ValueError(f"{key[:40]!r}... has {len(key)} characters; a name has {LONGEST} at most")
        check_int("num_classes", self.num_classes, 0)
        check_int("in_chans", self.in_chans, 1, MAX_CHANNELS)
        check_choice("global_pool", self.global_pool, GLOBAL_POOLS)
        check_rate("drop_rate", self.drop_rate)
        DataConfig.from_json(self.data)
        if self.class_names is not None:
            check_class_names(self.class_names, self.num_classes)
        for key, value in self.metrics.items():
            if type(value) is not float or not math.isfinite(value):
                raise TypeError(f"metrics: {key}={value!r} must be a finite float")
        for key, value in self.arguments.items():
            if not _plain(value, 3):
                raise TypeError(f"arguments: {key} must be a string, number or bool, or a list of them")


def _plain(value: object, depth: int) -> bool:
    """Return whether a value is a scalar, or lists of scalars up to `depth` deep."""
    if isinstance(value, list | tuple):
        return depth > 0 and all(_plain(item, depth - 1) for item in value)
    return value is None or isinstance(value, str | int | float)


def describe_model(
    model: Net, *, class_names: list[str] | tuple[str, ...] | None, metrics: Mapping[str, float] | None
) -> ModelMetadata:
    """Return the card of a model.

    Raises:
        ArgumentError: the model has no name in a registry, an argument of its own is no plain value, or the class names
            do not fit.
    """
    if model.entry is None:
        raise ArgumentError(
            "this network has no name to be built again by: register_model('my_net', network), then create_model('my_net')"
        )
    names = model.class_names if class_names is None else check_class_names(class_names, model.num_classes)
    if not isinstance(metrics, Mapping | None):
        raise ArgumentError(f"metrics={metrics!r} must be a dict of numbers by name")
    for key, value in (metrics or {}).items():
        check_text("a name of metrics", key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ArgumentError(f"metrics: {key}={value!r} must be a finite number")
    for key, value in model.arguments.items():
        if not _plain(value, 3):
            raise ArgumentError(f"arguments {key}={value!r} must be plain values to be saved: strings, numbers, tuples of them")
    card = ModelMetadata(
        architecture=model.entry.name,
        num_classes=model.num_classes,
        in_chans=model.in_chans,
        global_pool=model.global_pool,
        drop_rate=float(model.head.drop.p),
        aux=bool(model.aux),
        channels_last=model.is_channels_last,
        fused=model.fused,
        arguments=model.arguments,
        data=model.data.to_json(),
        class_names=None if names is None else list(names),
        metrics={key: float(value) for key, value in (metrics or {}).items()},
    )
    try:
        card._check()  # as it will be when it is read
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"the model cannot be described in a file: {error}") from error
    return card


def model_arguments(card: ModelMetadata) -> dict[str, Any]:
    """Return the model's own arguments, lists as the tuples that they were."""
    return {key: _tuple(value) for key, value in card.arguments.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
