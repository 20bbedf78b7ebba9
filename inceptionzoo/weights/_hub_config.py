"""Read the config.json of a Hub repository: known keys only, each checked for its type and range."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, FileError
from ..nn import default_task, name_counts
from ..spec import GLOBAL_POOLS, DataConfig, GlobalPool
from ._checksum import Checksum
from ._metadata import is_plain, with_tuples

PREFIX = "izoo_"  # of our architectures' names in timm's registry
MAX_FILE_SIZE = 4 << 20  # bytes
MAX_NUMBER = 1_000_000
MAX_NAME_LENGTH = 1000  # characters
TIMM_NAMES = {"legacy_xception": "xception"}  # timm's name: ours
PROBLEM_TYPES = {"multilabel": "multi_label_classification", "regression": "regression"}  # our task: transformers' name


@dataclass(frozen=True, slots=True)
class HubConfig:
    """The description of a repository's model; `architecture` is this library's name.

    There may be more or fewer `class_names` than classes: transformers keeps the old names with another number of classes.
    """

    architecture: str
    num_classes: int
    in_chans: int
    global_pool: GlobalPool = "avg"
    class_names: tuple[str, ...] | None = None
    task: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def data_config(self, default: DataConfig) -> DataConfig:
        """Return the preprocessing; settings that the repository does not give are `default`'s."""
        defaults = default.sized(self.in_chans, *default.size).to_json()
        return DataConfig.from_json(defaults | dict(self.data))

    def fits_class_names(self) -> bool:
        """Return whether there are no class names, or as many as classes."""
        counts = name_counts(self.num_classes, self.task or default_task(self.num_classes))
        return self.class_names is None or len(self.class_names) in counts


def read_config(path: Path, checksum: Checksum | None = None) -> HubConfig:
    """Return the content of a config.json; unknown keys are ignored.

    Raises:
        FileError: the file is too large, does not have `checksum`, is not JSON or lacks the architecture, or a value has
            another type or is out of range.
    """
    size = path.stat().st_size
    if size > MAX_FILE_SIZE:
        raise FileError(f"{path} has {size:,} bytes; a config.json may have at most {MAX_FILE_SIZE:,}")
    try:
        data = path.read_bytes()
        if checksum is not None:
            checksum.check_bytes(data)
        return _parse_config(json.loads(data.decode("utf-8")))
    except (ValueError, TypeError, RecursionError, ArgumentError) as error:
        raise FileError(f"{path} does not describe a model: {error}; it must be timm's or this library's") from error


def _parse_config(values: object) -> HubConfig:
    if not isinstance(values, dict):
        raise TypeError(f"{type(values).__name__} must be an object")
    pretrained = _get(values, "pretrained_cfg", dict, {})
    name = _check_length(_get(values, "architecture", str, ""), "architecture")
    if not name:
        raise ValueError("'architecture' is missing")
    size = _get_numbers(pretrained, "input_size", int, 2, 3, 4) or (3, 224, 224)
    data = {
        "input_size": size if "input_size" in pretrained else None,
        "mean": _get_numbers(pretrained, "mean", float, size[0]),
        "std": _get_numbers(pretrained, "std", float, size[0]),
        "interpolation": _get(pretrained, "interpolation", str, None),
        "crop_pct": _get(pretrained, "crop_pct", float, None),
        "crop_mode": _get(pretrained, "crop_mode", str, None),
    }
    num_classes = _get(values, "num_classes", int, _get(pretrained, "num_classes", int, 1000))
    pool = _get(values, "global_pool", str, "avg")
    if not 0 <= num_classes <= MAX_NUMBER:
        raise ValueError(f"num_classes={num_classes!r} must be 0 to {MAX_NUMBER}")
    if pool not in GLOBAL_POOLS:
        raise ValueError(f"global_pool={pool!r} must be one of {GLOBAL_POOLS}")
    return HubConfig(
        architecture=TIMM_NAMES.get(name, name).removeprefix(PREFIX),
        num_classes=num_classes,
        in_chans=size[0],
        global_pool=next(known for known in GLOBAL_POOLS if known == pool),
        class_names=parse_class_names(values.get("label_names"), num_classes),
        task=_parse_task(_get(values, "problem_type", str, None), num_classes),
        arguments=_parse_arguments(_get(values, "model_args", dict, {})),
        data={key: value for key, value in data.items() if value is not None},
    )


def _get(values: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    """Return a value of type `kind` (an int passes as float), or the default if there is none.

    Raises:
        TypeError: the value has another type.
    """
    value = values.get(key)
    if value is None:
        return default
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"{key}={str(value)[:60]!r} must be a {kind.__name__}")
    return value


def _check_length(value: str, key: str) -> str:
    if len(value) > MAX_NAME_LENGTH:
        raise ValueError(f"{key} has {len(value)} characters; it may have at most {MAX_NAME_LENGTH}")
    return value


def _get_numbers(values: Mapping[str, Any], key: str, kind: type, *counts: int) -> tuple[Any, ...] | None:
    """Return a list of numbers of type `kind`, as many as one of `counts`, each at most `MAX_NUMBER`; None if there is none.

    Raises:
        TypeError: the value is not a list.
        ValueError: it has another length, or an item is not such a number.
    """
    numbers = _get(values, key, list, None)
    if numbers is None:
        return None
    right_types = all(type(item) is int or (kind is float and type(item) is float) for item in numbers)
    if len(numbers) not in counts or not right_types or not all(abs(item) <= MAX_NUMBER for item in numbers):
        raise ValueError(f"{key}={str(numbers)[:60]} must be {' or '.join(map(str, counts))} numbers of at most {MAX_NUMBER}")
    return tuple(numbers)


def parse_class_names(value: object, num_classes: int) -> tuple[str, ...] | None:
    """Return the class names; None if there are none, or if a name appears twice.

    timm also writes {index: name}. A class that it leaves out has its index as name.

    Raises:
        TypeError: the value is neither a list of strings nor such a mapping.
    """
    if value is None:
        return None
    indices = [str(index) for index in range(num_classes)]
    if isinstance(value, dict) and set(map(str, value)) <= set(indices):
        by_index = {str(index): name for index, name in value.items()}
        value = [by_index.get(index, index) for index in indices]
    if not isinstance(value, list) or len(value) > MAX_NUMBER or not all(type(item) is str for item in value):
        raise TypeError(f"label_names must be a list of strings, or a mapping from 0 to {num_classes - 1} to strings")
    names = tuple(_check_length(item, "a label") for item in value)
    return names if len(set(names)) == len(names) else None


def problem_type(task: str, num_classes: int) -> str | None:
    """Return transformers' name of a task; None for one class of several, its default for several outputs.

    One output without this name would be a value. With it, its sigmoid is a probability.
    """
    return PROBLEM_TYPES.get("multilabel" if task == "binary" else task) if num_classes else None


def _parse_task(name: str | None, num_classes: int) -> str | None:
    """Return the task that `problem_type` wrote; None if it is the default of the number of outputs."""
    task = next((task for task, known in PROBLEM_TYPES.items() if known == name), None)
    return None if task == "multilabel" and num_classes == 1 else task


def _parse_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in values.items():
        if not is_plain(value):
            raise TypeError(f"model_args: {key}={str(value)[:60]} must be a string, number or bool, or a list of them")
    return with_tuples(values)
