"""The description of a model in the header of its file, from which the model is rebuilt."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from ..errors import ArgumentError, FileError, SpecError, check_choice, check_int, check_rate, check_text, is_finite_number
from ..models import ENTRIES
from ..nn import Net, check_class_names, check_task, check_unchanged, default_task
from ..spec import GLOBAL_POOLS, MAX_CHANNELS, DataConfig, Network, network_from_json, network_to_json

VERSION = 1
MAX_NAME_LENGTH = 200  # characters
BUILT_IN = frozenset(entry.name for entry in ENTRIES)
TYPES = {
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
    """The description of a model; every value is plain JSON.

    `channels_last` is the model's memory format, so that a loaded model computes the same bits; the tensors of the file are
    contiguous either way. `fused` says that the weights are those of a fused model. `task` is None, and is not written, if it
    is the default of the number of outputs: version 0.1 reads such files too.

    `network` is the network of a model that is not one of this library's, with its `arguments` applied. It is None, and the
    file has no such key, for a model of this library, and for a registered network that contains code. `architecture` is ""
    if the network is not registered.
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
    network: Network | None = None
    task: str | None = None
    version: int = VERSION

    def to_json(self) -> str:
        """Return the metadata as JSON with sorted keys."""
        values = asdict(replace(self, network=None))
        values["network"] = None if self.network is None else network_to_json(self.network)
        for key in ("network", "task"):
            if values[key] is None:
                del values[key]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> Self:
        """Return the metadata that `to_json` wrote; `name` is the file's name, for errors.

        Raises:
            FileError: the text is not such JSON, a key is missing or unknown, a value has another type or is out of range,
                or the version is another.
        """
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError(f"{type(values).__name__} must be an object")
            if values.get("kind") == "training":
                raise FileError(
                    f"{name} holds the state of a training, not a model; load best.safetensors from the same folder"
                )
            if values.get("kind") == "ensemble":
                raise FileError(f"{name} holds an ensemble, not a model; Ensemble.load reads it")
            version = values.get("version")
            if type(version) is not int or version != VERSION:
                raise FileError(f"{name} has format version={version!r}, this library reads {VERSION}; upgrade inceptionzoo")
            values.setdefault("fused", False)  # files of the first releases lack it
            values.setdefault("task", None)
            known = {item.name for item in fields(cls)}
            if wrong := sorted((known ^ set(values)) - {"network"}):
                raise ValueError(f"{wrong[0]!r} is {'missing' if wrong[0] in known else 'unknown'}")
            if "network" in values:
                values["network"] = network_from_json(values["network"])
            metadata = cls(**values)
            metadata._check()
        except (ValueError, TypeError, RecursionError) as error:
            raise FileError(f"{name}: its header does not describe a model: {error}; save it again") from error
        return metadata

    def _check(self) -> None:
        """Check types and ranges.

        Raises:
            TypeError, ValueError: a value has another type or is out of range.
        """
        for key, kind in TYPES.items():
            if type(getattr(self, key)) is not kind:
                raise TypeError(f"{key}={getattr(self, key)!r} must be of type {kind.__name__}")
        for key in (self.architecture, *self.arguments, *self.metrics):
            if isinstance(key, str) and len(key) > MAX_NAME_LENGTH:
                raise ValueError(f"{key[:40]!r}... has {len(key)} characters; a name has at most {MAX_NAME_LENGTH}")
        if not self.architecture and self.network is None:
            raise ValueError("architecture='' needs a network")
        if self.network is not None and not re.fullmatch("[A-Za-z0-9_-]*", self.architecture):
            raise ValueError(f"architecture={self.architecture!r} must be made of letters, digits, '_' and '-'")
        check_int("num_classes", self.num_classes, 0)
        check_int("in_chans", self.in_chans, 1, MAX_CHANNELS)
        check_choice("global_pool", self.global_pool, GLOBAL_POOLS)
        check_rate("drop_rate", self.drop_rate)
        DataConfig.from_json(self.data)
        if self.task is not None:
            check_task(self.task, self.num_classes)
        if self.class_names is not None:
            check_class_names(self.class_names, self.num_classes, self.task or default_task(self.num_classes))
        for key, value in self.metrics.items():
            if type(value) is not float or not math.isfinite(value):
                raise TypeError(f"metrics: {key}={value!r} must be a finite float")
        for key, value in self.arguments.items():
            if not is_plain(value):
                raise TypeError(f"arguments: {key} must be a string, number or bool, or a list of them")


def is_plain(value: object, depth: int = 3) -> bool:
    """Return whether a value is a JSON scalar, or lists of scalars nested at most `depth` deep."""
    if isinstance(value, list | tuple):
        return depth > 0 and all(is_plain(item, depth - 1) for item in value)
    return value is None or isinstance(value, str | int | float)


def describe_model(
    model: Net, *, class_names: list[str] | tuple[str, ...] | None, metrics: Mapping[str, float] | None
) -> ModelMetadata:
    """Return the metadata of a model.

    Raises:
        ArgumentError: the model has no name and its network contains code, it has changed since it was built (see
            `describe_changes`), an argument is not a plain value, or the class names or metrics are invalid.
    """
    names = model.class_names if class_names is None else check_class_names(class_names, model.num_classes, model.task)
    numbers = _check_metrics(metrics)
    for key, value in model.arguments.items():
        if not is_plain(value):
            raise ArgumentError(f"arguments {key}={value!r} must be plain values to be saved: strings, numbers, tuples of them")
    check_unchanged(model, "the model cannot be saved")
    metadata = ModelMetadata(
        architecture=model.entry.name if model.entry else "",
        num_classes=model.num_classes,
        in_chans=model.in_chans,
        global_pool=model.global_pool,
        drop_rate=model.drop_rate,
        aux=bool(model.aux),
        channels_last=model.is_channels_last,
        fused=model.fused,
        arguments=model.arguments,
        data=model.data.to_json(),
        class_names=None if names is None else list(names),
        metrics=numbers,
        network=_own_network(model),
        task=None if model.task == default_task(model.num_classes) else model.task,
    )
    try:
        metadata._check()  # as when the file is read
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"the model cannot be described in a file: {error}") from error
    return metadata


def _own_network(model: Net) -> Network | None:
    """Return the network that the file must hold so that another process can rebuild the model; None if the name is enough.

    Raises:
        ArgumentError: the network has no name and contains code, which a file cannot hold.
    """
    if model.entry is not None and model.entry.name in BUILT_IN:
        return None
    try:
        network_to_json(model.network)
    except SpecError as error:
        if model.entry is not None:
            return None  # loading needs the same registration
        raise ArgumentError(
            f"{error}; call register_model('my_net', network), then create_model('my_net'), to save the network by its name"
        ) from error
    return model.network


def _check_metrics(metrics: Mapping[str, float] | None) -> dict[str, float]:
    if not isinstance(metrics, Mapping | None):
        raise ArgumentError(f"metrics={metrics!r} must be a dict of names to numbers")
    for key, value in (metrics or {}).items():
        check_text("a name of metrics", key)
        if not is_finite_number(value):
            raise ArgumentError(f"metrics: {key}={value!r} must be a finite number")
    return {key: float(value) for key, value in (metrics or {}).items()}


def with_tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a network with tuples in place of lists, which JSON has for both."""
    return {key: _as_tuples(value) for key, value in arguments.items()}


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value
