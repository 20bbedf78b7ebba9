"""Find the parts of a checkpoint: the mappings in it that hold tensors, however deep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import FileError

MAX_DEPTH = 8  # of mappings inside mappings
MAX_SHOWN = 3  # values in an error
MAX_MAPPINGS = 100_000  # in one checkpoint; the state of an optimizer has one for each parameter


@dataclass(frozen=True, slots=True)
class Part:
    """A mapping of a checkpoint. `path` are the keys that lead to it; it is empty for the checkpoint itself.

    `tensors` are its tensors by name. `others` are its other values, except mappings, as {key: name of the type}. `faults`
    describes tensors whose keys are not names.
    """

    path: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    others: Mapping[str, str]
    faults: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The keys that lead to the part, joined by dots."""
        return ".".join(self.path)


def find_parts(state: object, name: str) -> tuple[Part, ...]:
    """Return every mapping of a checkpoint, the outer ones first. `name` is the checkpoint's name, for errors.

    A list or tuple is entered if one of its items is a state dict; the position of an item is then its key.

    Raises:
        FileError: no tensor has a name, or there are too many mappings.
    """
    parts = tuple(_walk(_as_mapping(state) or {}, name))
    if not any(part.tensors for part in parts):
        faults = [fault for part in parts for fault in part.faults]
        raise FileError(f"{name}: {faults[0]}; pass the state dict alone" if faults else _describe_others(parts, name))
    return parts


def _describe_others(parts: tuple[Part, ...], name: str) -> str:
    """Return the error of a checkpoint without tensors, with the types of its first values."""
    others = {".".join((*part.path, key)): kind for part in parts for key, kind in part.others.items()}
    if "ndarray" in others.values():
        return f"{name} holds NumPy arrays, not tensors; pass a state dict: {{name: torch.from_numpy(array), ...}}"
    text = f"{name} holds no state dict: a mapping of names to tensors, by itself or under any key"
    shown = ", ".join(f"{key!r} of type {kind}" for key, kind in list(others.items())[:MAX_SHOWN])
    return f"{text}; it holds {shown}. Pass the state_dict() of a model" if shown else text


def _walk(state: Mapping[Any, Any], name: str) -> Iterator[Part]:
    """Yield the mapping and those inside it, breadth first. A mapping that holds itself is visited once."""
    level: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = [((), state)]
    seen = {id(state)}
    for _ in range(MAX_DEPTH + 1):
        inner: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = []
        for path, mapping in level:
            items = _items(mapping)
            yield _part(path, items)
            for key, value in items.items():
                if (inside := _as_mapping(value)) is not None and id(value) not in seen:
                    seen.add(id(value))
                    inner.append(((*path, str(key)), inside))
        if len(seen) > MAX_MAPPINGS:
            raise FileError(f"{name} holds more than {MAX_MAPPINGS:,} mappings; pass the state dict alone")
        level = inner


def _as_mapping(value: object) -> Mapping[Any, Any] | None:
    """Return a mapping, or a list or tuple that holds a state dict as a mapping of its positions; None for other values."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping) and _holds_tensor(item) for item in value):
        return dict(enumerate(value))
    return None


def _holds_tensor(mapping: Mapping[Any, Any]) -> bool:
    return any(isinstance(key, str) and isinstance(value, Tensor) for key, value in _items(mapping).items())


def _items(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a mapping as a dict. No method of a dict that a file's object overrides is called."""
    return dict(dict.items(mapping)) if isinstance(mapping, dict) else dict(mapping)


def _part(path: tuple[str, ...], items: Mapping[Any, Any]) -> Part:
    tensors = {key: value for key, value in items.items() if isinstance(value, Tensor) and isinstance(key, str)}
    plain = {key: value for key, value in items.items() if not isinstance(value, Tensor) and _as_mapping(value) is None}
    odd = [key for key, value in items.items() if isinstance(value, Tensor) and not isinstance(key, str)]
    return Part(
        path,
        tensors,
        others={str(key): type(value).__name__ for key, value in plain.items()},
        faults=tuple(f"key {key!r} must be a str, the name of a tensor" for key in odd[:1]),
    )
