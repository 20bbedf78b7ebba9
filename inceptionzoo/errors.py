"""Every error the library raises on its own account.

    ZooError
    ├── SpecError          a network or block described wrongly
    ├── ArgumentError      an argument outside its range, or an unknown keyword
    │   └── UnknownModelError  a name that is not in the registry
    ├── InputError         images that a network cannot take
    ├── WeightsError       weights that cannot be read or do not belong
    │   ├── FileError      not a weight file, or a damaged one
    │   ├── MismatchError  keys, shapes or values that do not fit the model
    │   └── DownloadError  weights that no server gives now
    │       └── RefusedError   ... or ever will: no such file, or no leave to have it
    └── TrainingError      training that cannot go on

Each message says the value, the constraint it breaks and a remedy, and is raised before anything is allocated or changed.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable
from numbers import Real
from pathlib import Path

MAX_INT = 2**31 - 1  # of a size: torch counts in 64 bits, and a product of two must fit


class ZooError(Exception):
    """The base of every error of this library."""


class SpecError(ZooError, ValueError):
    """A network or block is described wrongly."""


class ArgumentError(ZooError, ValueError):
    """An argument lies outside its range, or no such keyword exists."""


class UnknownModelError(ArgumentError, LookupError):
    """No model of this name is registered."""


class InputError(ZooError, ValueError):
    """The network cannot take these images."""


class WeightsError(ZooError):
    """Weights cannot be read, or do not belong to the model."""


class FileError(WeightsError):
    """The file is no weight file, or is damaged."""


class MismatchError(WeightsError, ValueError):
    """Keys, shapes or values do not fit the model; the model is unchanged."""


class DownloadError(WeightsError):
    """Weights cannot be fetched: the server is not reached, or gives other bytes; or offline, none are cached."""


class RefusedError(DownloadError):
    """A server says that it will not give these weights: there are none of this name, or a login is asked for."""


class TrainingError(ZooError, RuntimeError):
    """Training cannot go on."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known names closest to `name`, or "." where none is close."""
    if len(name) > 100:  # no slip of the hand, and slow to compare
        return "."
    scores = {other: difflib.SequenceMatcher(None, name, other).ratio() for other in known}
    best = max(scores.values(), default=0.0)
    if best < 0.6:
        return "."
    return f"; did you mean {' or '.join(repr(other) for other, score in scores.items() if score == best)}?"


# Each checker raises `error`, an ArgumentError unless said otherwise, and names the value and the constraint.


def check_int(name: str, value: object, least: int, most: int = MAX_INT, *, error: type[ZooError] = ArgumentError) -> int:
    """Return `value` where it is an int from `least` to `most`, and no bool."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise error(f"{name}={value!r} must be an int from {least} to {most}")
    return value


def check_number(name: str, value: object, *, error: type[ZooError] = ArgumentError) -> None:
    """Check that `value` is a finite number of at least 0."""
    try:
        good = isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < math.inf
    except OverflowError:  # an int beyond every float
        good = False
    if not good:
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
    """Return `value` as a path."""
    if not isinstance(value, str | os.PathLike):
        raise ArgumentError(f"{name}={value!r} must be a path, as 'folder/name' is one")
    return Path(value)


def check_size(name: str, size: object, *, most_channels: int = MAX_INT) -> None:
    """Check that `size` is that of an image, (channels, height, width)."""
    if not isinstance(size, tuple) or len(size) != 3:
        raise ArgumentError(f"{name}={size!r} must be (channels, height, width), as (3, 224, 224) is one")
    for side, most in zip(size, (most_channels, MAX_INT, MAX_INT), strict=True):
        if type(side) is not int or not 1 <= side <= most:
            raise ArgumentError(f"{name}={size!r} has {side!r}, which must be an int from 1 to {most}")


def check_rate(name: str, value: object, *, error: type[ZooError] = ArgumentError) -> float:
    """Return `value` as a float where 0 <= value < 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise error(f"{name}={value!r} must be a number with 0 <= {name} < 1")
    return float(value)


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Check that `value` is one of `choices`; the message lists them."""
    known = list(choices)
    if not any(type(value) is type(choice) and value == choice for choice in known):
        hint = suggestion(value, [choice for choice in known if isinstance(choice, str)]) if isinstance(value, str) else "."
        raise ArgumentError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}{hint}")
