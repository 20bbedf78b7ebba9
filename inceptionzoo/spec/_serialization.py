"""A network as plain JSON values, and back. Reading is strict: a file is not trusted.

An object {"type": "Conv", "out": 32, "kernel": [1, 7], ...} holds every field of a dataclass. A list is a tuple. The types of
the values are those of the fields' annotations; the ranges are checked by the dataclasses themselves. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from numbers import Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

from ..errors import ArgumentError, SpecError, suggestion
from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._layers import Chain, Concat, Op, Residual
from ._network import Aux, Head, Network, Style

TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (Act, Aux, Chain, Concat, Conv, Depthwise, Head, Network, Norm, Pool, Residual, Style)  # all but Op
}
ADDED = {"spatial_dims": 2, "time_padding": "zeros", "min_channels": 1}  # fields that older files lack, with what they meant
MAX_VALUES = 50_000  # of a network's JSON; Inception-ResNet-v2 has 3,311
MAX_DEPTH = 100  # of lists and objects inside each other; Inception v3 has 13
MAX_TEXT = 200  # characters of a name


def network_to_json(network: Network) -> dict[str, Any]:
    """Return the network as JSON values. `network_from_json` returns an equal network.

    Raises:
        SpecError: a part is code (an `Op` or a callable of `Style`) or a class of the user's own, or the network is too large.
            The message gives its path, for example "stages.mixed.gate".
    """
    data: dict[str, Any] = _encode(network, "", 0)
    if network_from_json(data) != network:
        raise SpecError("the network changes when it is written as data; use plain numbers and strings in its fields")
    return data


def network_from_json(data: object) -> Network:
    """Return the network that `network_to_json` wrote.

    Raises:
        SpecError: the data is too large, a key is unknown or missing, or a value has another type or is out of range. The
            message gives its path, for example "stages.conv1.kernel".
    """
    _check_limits(data)
    network = _decode(data, Network, "")
    assert isinstance(network, Network)
    if not network.stages:
        raise SpecError("stages must not be empty")
    return network


def first_difference(first: object, second: object, path: str = "") -> str:
    """Return where two networks differ first, as "stages.conv1.kernel: 3 and 5"; "" if they are equal."""
    if first == second:
        return ""
    if type(first) is type(second) and is_dataclass(first) and not isinstance(first, type):
        names = [item.name for item in fields(first)]
        paths = [_join(path, name) for name in names]
        pairs = [(getattr(first, name), getattr(second, name)) for name in names]
    elif isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second):
        paths, pairs = _item_paths(first, path), list(zip(first, second, strict=True))
    else:
        return f"{path}: {_short(first)} and {_short(second)}"
    found = (first_difference(*pair, where) for pair, where in zip(pairs, paths, strict=True))
    return next(filter(None, found), "")


# --- writing -------------------------------------------------------------------------------------------------------------
def _encode(value: object, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise SpecError(f"{path[:MAX_TEXT]}... is nested more than {MAX_DEPTH} deep; flatten its chains")
    if isinstance(value, tuple):
        return [_encode(item, where, depth + 1) for item, where in zip(value, _item_paths(value, path), strict=True)]
    kind = type(value).__name__
    if TYPES.get(kind) is type(value):
        values = {name: _encode(getattr(value, name), _join(path, name), depth + 1) for name in _hints(TYPES[kind])}
        return {"type": kind, **values}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Real):
        return int(value) if isinstance(value, int) else float(value)
    raise SpecError(f"{path}={_short(value)} is code, or a type of your own, and a file holds data only")


# --- reading -------------------------------------------------------------------------------------------------------------
def _check_limits(data: object) -> None:
    """Check the size before anything is decoded, and without recursion."""
    pending, count = [(data, 0)], 0
    while pending:
        value, depth = pending.pop()
        children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        count += 1
        if depth > MAX_DEPTH or count + len(children) > MAX_VALUES:
            raise SpecError(f"a network may have {MAX_VALUES} values, nested {MAX_DEPTH} deep, and this one is larger")
        pending += ((child, depth + 1) for child in children)


def _decode(value: object, hint: Any, path: str) -> Any:
    """Return a JSON value as a value of the type `hint`; a union takes the alternative that has the value's JSON type."""
    options = _alternatives(hint)
    if isinstance(value, dict):
        return _decode_object(value, [option for option in options if option in TYPES.values()], path)
    if isinstance(value, list):
        for option in options:
            if get_origin(option) is tuple:
                return _decode_list(value, get_args(option), path)
    elif isinstance(value, str) and len(value) > MAX_TEXT:
        raise SpecError(f"{path}={_short(value)} has {len(value)} characters; a text has at most {MAX_TEXT}")
    elif any(_has_type(value, option) for option in options):
        return value
    raise SpecError(f"{path or 'the network'}={_short(value)} must be {' or '.join(dict.fromkeys(_describe(options)))}")


def _decode_object(values: dict[str, object], kinds: list[type], path: str) -> object:
    name = values.get("type")
    kind = next((kind for kind in kinds if kind.__name__ == name), None)
    if kind is None:
        raise SpecError(
            f"{_join(path, 'type')}={_short(name)} must be one of {', '.join(kind.__name__ for kind in kinds) or 'none'}"
        )
    hints = _hints(kind)
    values = {key: value for key, value in ADDED.items() if key in hints} | values
    for key in sorted({*hints, "type"} ^ set(values)):
        problem = "is missing" if key in hints else f"is unknown{suggestion(key, hints)}"
        raise SpecError(f"{_join(path, key[:MAX_TEXT])} {problem}")
    arguments = {key: _decode(values[key], hint, _join(path, key)) for key, hint in hints.items()}
    try:
        return kind(**arguments)
    except (SpecError, ArgumentError) as error:
        raise SpecError(f"{path}: {error}" if path else str(error)) from error


def _decode_list(values: list[object], hints: tuple[Any, ...], path: str) -> tuple[object, ...]:
    """Return a list as a tuple, whose annotation has the arguments `hints`."""
    if hints[-1:] == (...,):
        hints = hints[:1] * len(values)
    if len(values) != len(hints):
        raise SpecError(f"{path}={_short(values)} must be a list of {len(hints)}")
    items = zip(values, hints, _item_paths(values, path), strict=True)
    return tuple(_decode(value, hint, where) for value, hint, where in items)


# --- annotations ---------------------------------------------------------------------------------------------------------
@cache
def _hints(kind: type) -> dict[str, Any]:
    """Return {name: annotation} of the fields of a dataclass."""
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union; the annotation itself if it is none. A network cannot be read with an `Op`."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return tuple(option for option in options if option is not Op)


def _has_type(value: object, option: Any) -> bool:
    """Return whether a JSON scalar has this type. An int is a float too; a bool is neither."""
    if get_origin(option) is Literal:
        return isinstance(value, str)  # which strings are allowed is checked by the dataclass
    return type(value) is option or (option is float and type(value) is int)


def _describe(options: tuple[Any, ...]) -> Iterator[str]:
    for option in options:
        if option is NoneType:
            yield "null"
        elif get_origin(option) is Literal:
            yield from map(repr, get_args(option))
        elif get_origin(option) is tuple:
            yield "a list"
        elif option in TYPES.values():
            yield "an object"
        elif isinstance(option, type):
            yield f"of type {option.__name__}"


def _item_paths(items: Sequence[object], path: str) -> list[str]:
    """Return the path of each item: "stages.conv1" for the pair (conv1, layer) and for what it holds, else an index."""
    if _is_named(items):
        return [path, path]
    return [_join(path, item[0][:MAX_TEXT] if _is_named(item) else str(index)) for index, item in enumerate(items)]


def _is_named(value: object) -> TypeGuard[Sequence[str]]:
    """Return whether this is a pair (name, layer)."""
    return isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[0], str)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
