"""The errors that the library raises, and the checks of arguments that raise them.

    ZooError
    ├── SpecError          an invalid network or block
    ├── ArgumentError      an invalid argument
    │   ├── KeywordError       an unknown keyword argument
    │   └── UnknownModelError  a name that is not in the registry
    ├── InputError         images that do not fit the network
    ├── ImageError         an image file that cannot be read
    ├── WeightsError       weights that cannot be read or do not fit the model
    │   ├── FileError      not a weight file, or a damaged one
    │   ├── MismatchError  keys, shapes or values that do not fit the model
    │   └── DownloadError  weights that could not be downloaded
    │       └── RefusedError   a retry does not help: no such file, or no permission
    └── TrainingError      training that cannot continue

Each message names the value, the constraint and a remedy. Arguments are checked before anything is allocated or changed.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

Value = TypeVar("Value")
MAX_INT = 2**31 - 1  # largest size: torch computes in 64 bits, and a product of two sizes must fit


class ZooError(Exception):
    """Base class of the errors of this library."""


class SpecError(ZooError, ValueError):
    """The description of a network or block is invalid."""


class ArgumentError(ZooError, ValueError):
    """An argument is invalid, or a keyword is unknown."""


class KeywordError(ArgumentError, TypeError):
    """A model does not take this keyword argument. It is a TypeError too, as Python and timm raise for unknown keywords."""


class UnknownModelError(ArgumentError, LookupError):
    """No model is registered under this name."""


class InputError(ZooError, ValueError):
    """The images do not fit the network."""


class ImageError(ZooError, OSError):
    """The file is not an image, or is damaged."""


class WeightsError(ZooError):
    """The weights cannot be read, or do not fit the model."""


class FileError(WeightsError):
    """The file is not a weight file, or is damaged."""


class MismatchError(WeightsError, ValueError):
    """Keys, shapes or values do not fit the model. The model is unchanged."""


class DownloadError(WeightsError):
    """The download failed: no connection, a wrong checksum, or offline mode without a cached file."""


class RefusedError(DownloadError):
    """The server refused: the file does not exist, or it needs a login. A retry does not help."""


class TrainingError(ZooError, RuntimeError):
    """Training cannot continue."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known names closest to `name`, or "." if none is close."""
    if len(name) > 100:  # not a typo, and slow to compare
        return "."
    similarities = {candidate: difflib.SequenceMatcher(None, name, candidate).ratio() for candidate in known}
    best = max(similarities.values(), default=0.0)
    if best < 0.6:
        return "."
    closest = [repr(candidate) for candidate, similarity in similarities.items() if similarity == best]
    return f"; did you mean {' or '.join(closest)}?"


def name_type(value: object) -> str:
    """Return the name of a value's type with its article: "a Linear", "an Ensemble"."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def plain_int(value: Value) -> Value | int:
    """Return an integer of another type, for example one of NumPy or torch, as an int, and any other value as it is."""
    if type(value).__name__ in ("bool", "bool_"):  # NumPy 1 lets its own be an index, with a warning
        return value
    index: Any = value
    try:
        return operator.index(index)
    except (TypeError, RuntimeError):  # RuntimeError: a tensor on the meta device
        return value


# Each check raises `error` with the argument's name, its value and the constraint.


def check_int(name: str, value: object, minimum: int, maximum: int = MAX_INT, *, error: type[ZooError] = ArgumentError) -> int:
    """Return `value`. Check that it is an int, not a bool, from `minimum` to `maximum`."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise error(f"{name}={value!r} must be an int from {minimum} to {maximum}")
    return value


def is_finite_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number of Python or NumPy that a float can hold, and neither nan nor infinite."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an int too large for a float
        return False


def check_number(name: str, value: object, *, error: type[ZooError] = ArgumentError) -> None:
    """Check that `value` is a finite number of at least 0."""
    if not is_finite_number(value) or value < 0:
        raise error(f"{name}={value!r} must be a finite number of at least 0")


def check_flag(name: str, value: object, *, error: type[ZooError] = ArgumentError) -> None:
    """Check that `value` is True or False."""
    if not isinstance(value, bool):
        raise error(f"{name}={value!r} must be True or False")


def check_text(name: str, value: object, *, error: type[ZooError] = ArgumentError) -> None:
    """Check that `value` is a string."""
    if not isinstance(value, str):
        raise error(f"{name}={value!r} must be a string")


def check_path(name: str, value: str | os.PathLike[str]) -> Path:
    """Return `value` as a `Path`. Check that it is not "", which would be the current folder."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ArgumentError(f"{name}={value!r} must be a path, for example 'folder/name'")
    return Path(value)


def check_size(name: str, size: object, *, max_channels: int = MAX_INT) -> None:
    """Check that `size` is (channels, height, width), positive ints; in one or three dimensions it has two or four."""
    if not isinstance(size, tuple) or not 2 <= len(size) <= 4:
        raise ArgumentError(
            f"{name}={size!r} must be (channels, height, width), for example (3, 224, 224); (channels, length) in one "
            "dimension, (channels, depth, height, width) in three"
        )
    for side, maximum in zip(size, (max_channels, *(MAX_INT,) * (len(size) - 1)), strict=True):
        if type(side) is not int or not 1 <= side <= maximum:
            raise ArgumentError(f"{name}={size!r} has {side!r}, which must be an int from 1 to {maximum}")


def check_rate(name: str, value: object, *, error: type[ZooError] = ArgumentError) -> float:
    """Return `value` as a float. Check that 0 <= value < 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise error(f"{name}={value!r} must be a number with 0 <= {name} < 1")
    return float(value)


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Check that `value` is one of `choices`; the message lists them."""
    allowed = list(choices)
    if not any(type(value) is type(choice) and value == choice for choice in allowed):
        hint = suggestion(value, [choice for choice in allowed if isinstance(choice, str)]) if isinstance(value, str) else "."
        raise ArgumentError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}{hint}")
