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
from collections.abc import Iterable


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


def near(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known names closest to `name`, or "." where none is close."""
    scores = {other: difflib.SequenceMatcher(None, name, other).ratio() for other in known}
    best = max(scores.values(), default=0.0)
    if best < 0.6:
        return "."
    return f"; did you mean {' or '.join(repr(other) for other, score in scores.items() if score == best)}?"


def check_int(name: str, value: object, least: int) -> int:
    """Return `value` where it is an int of at least `least`.

    Raises:
        ArgumentError: it is another type (bool included) or smaller.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ArgumentError(f"{name}={value!r} must be an int of at least {least}")
    return value


def check_rate(name: str, value: object) -> float:
    """Return `value` as a float where 0 <= value < 1.

    Raises:
        ArgumentError: it is no number, or lies outside.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ArgumentError(f"{name}={value!r} must be a number with 0 <= {name} < 1")
    return float(value)


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Check that `value` is one of `choices`.

    Raises:
        ArgumentError: it is not; the message lists the choices.
    """
    known = list(choices)
    if not any(type(value) is type(choice) and value == choice for choice in known):
        hint = near(value, [choice for choice in known if isinstance(choice, str)]) if isinstance(value, str) else "."
        raise ArgumentError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}{hint}")
