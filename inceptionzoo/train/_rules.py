"""The metadata of the fields of `FitConfig`: how an argument is checked, and what it adds to the fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, check_number


def unless_none(function: Callable[..., object]) -> Callable[..., Any]:
    """Return a function that calls `function` unless its last argument is None."""
    return lambda *arguments: None if arguments[-1] is None else function(*arguments)


def rules(
    check: Callable[[str, Any], object] | None = None,
    *,
    fingerprint: Callable[[Any], object] | None = lambda value: value,
    key: str | None = None,
    recipe: bool = False,
    default: object = ...,
) -> dict[str, Any]:
    """Return the metadata of an argument's field.

    `check(name, value)` raises if the value alone is invalid. `fingerprint(value)` is its JSON value in the fingerprint. An
    argument that does not change the trained weights has `fingerprint=None` and is left out. `key` is its key in the
    fingerprint, by default its name. `recipe` marks an argument that is passed on to `recipe`. An argument that version 0.1
    did not have names its `default`, and is in the fingerprint only if its value is another one.
    """
    return {"check": check, "fingerprint": fingerprint, "key": key, "recipe": recipe, "default": default}


def check_positive(name: str, value: object) -> None:
    """Check that `value` is a finite number greater than 0."""
    check_number(name, value)
    if not value:
        raise ArgumentError(f"{name}={value!r} must be greater than 0; pass None to leave it out")
