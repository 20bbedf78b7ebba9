"""The config.json of a Hub repository, read against a list of what it may say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, FileError
from ..spec import GLOBAL_POOLS, DataConfig, GlobalPool

PREFIX = "izoo_"  # of our architectures' names, in other people's registries
LARGEST_FILE = 4 << 20
LARGEST_NUMBER = 1_000_000
LONGEST = 1000  # characters of a name
TIMM = {"legacy_xception": "xception"}  # timm's names of what is called otherwise here


@dataclass(frozen=True, slots=True)
class HubConfig:
    """What a repository says of its model; the architecture by our name."""

    architecture: str
    num_classes: int
    in_chans: int
    global_pool: GlobalPool = "avg"
    class_names: tuple[str, ...] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def data_config(self, default: DataConfig) -> DataConfig:
        """Return the preprocessing: what is said here, and the rest of `default`."""
        plain = default.sized(self.in_chans, *default.input_size[1:]).to_json()
        return DataConfig.from_json(plain | dict(self.data))


def read_config(path: Path) -> HubConfig:
    """Return what a config.json says; what is not on the list is never looked at.

    Raises:
        FileError: it is too large, no JSON, lacks the architecture, or a value has another type or lies outside its range.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise FileError(f"{path} has {path.stat().st_size:,} bytes; a config.json of {LARGEST_FILE:,} at most is read")
    try:
        values = json.loads(path.read_text("utf-8"))
        return _config(values)
    except (ValueError, TypeError, RecursionError, ArgumentError) as error:
        raise FileError(f"{path} does not describe a model: {error}; it must be timm's or this library's") from error


def _config(values: object) -> HubConfig:
    if not isinstance(values, dict):
        raise TypeError(f"{type(values).__name__} must be an object")
    inner = _get(values, "pretrained_cfg", dict, {})
    name = _text(_get(values, "architecture", str, ""), "architecture")
    if not name:
        raise ValueError("'architecture' is missing")
    size = _numbers(inner, "input_size", int, 3) or (3, 224, 224)
    data: dict[str, Any] = {"input_size": size} if "input_size" in inner else {}
    for key, found in (
        ("mean", _numbers(inner, "mean", float, size[0])),
        ("std", _numbers(inner, "std", float, size[0])),
        ("interpolation", _get(inner, "interpolation", str, None)),
        ("crop_pct", _get(inner, "crop_pct", float, None)),
    ):
        data |= {} if found is None else {key: found}
    classes = _get(values, "num_classes", int, _get(inner, "num_classes", int, 1000))
    pool = _get(values, "global_pool", str, "avg")
    if not 0 <= classes <= LARGEST_NUMBER or pool not in GLOBAL_POOLS:
        raise ValueError(f"num_classes={classes!r}, global_pool={pool!r}: 0 to {LARGEST_NUMBER}, one of {GLOBAL_POOLS}")
    return HubConfig(
        architecture=TIMM.get(name, name).removeprefix(PREFIX),
        num_classes=classes,
        in_chans=size[0],
        global_pool=next(known for known in GLOBAL_POOLS if known == pool),
        class_names=_names(values.get("label_names"), classes),
        arguments=_arguments(_get(values, "model_args", dict, {})),
        data=data,
    )


def _get(values: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    """Return a value of that type, a whole number passing for a float, or the default where there is none."""
    value = values.get(key)
    if value is None:
        return default
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"{key}={str(value)[:60]!r} must be a {kind.__name__}")
    return value


def _text(value: str, key: str) -> str:
    if len(value) > LONGEST:
        raise ValueError(f"{key} has {len(value)} characters; {LONGEST} at most are read")
    return value


def _numbers(values: Mapping[str, Any], key: str, kind: type, count: int) -> tuple[Any, ...] | None:
    """Return a list of `count` numbers, each within bounds."""
    found = _get(values, key, list, None)
    if found is None:
        return None
    whole = all(type(item) is int or (kind is float and type(item) is float) for item in found)
    if len(found) != count or not whole or not all(abs(item) <= LARGEST_NUMBER for item in found):
        raise ValueError(f"{key}={str(found)[:60]} must be {count} numbers of at most {LARGEST_NUMBER}")
    return tuple(found)


def _names(value: object, classes: int) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > LARGEST_NUMBER or not all(type(item) is str for item in value):
        raise TypeError("label_names must be a list of strings")
    if len(value) != classes:
        raise ValueError(f"{len(value)} label_names do not fit num_classes={classes}")
    names = tuple(_text(item, "a label") for item in value)
    return names if len(set(names)) == classes else None  # names that stand twice name nothing


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = (str, int, float, bool, type(None))
    for key, value in values.items():
        items = value if isinstance(value, list) else [value]
        if len(items) > 16 or not all(isinstance(item, plain) for item in items):
            raise TypeError(f"model_args: {key}={str(value)[:60]} must be a string, number or bool, or a few of them")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
