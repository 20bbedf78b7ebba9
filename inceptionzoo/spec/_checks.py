"""Checks of the fields of a layer. Each raises SpecError with the layer's class, the field, its value and the constraint."""

from __future__ import annotations

from ..errors import SpecError, ZooError, check_flag, check_int, check_number
from ._geometry import AXES, Size, as_tuple


def check_positive(spec: object, **fields: object) -> None:
    """Check that every field is an int of at least 1."""
    for name, value in fields.items():
        check_int(f"{type(spec).__name__}: {name}", value, 1, error=SpecError)


def check_flags(spec: object, **fields: object) -> None:
    """Check that every field is True or False."""
    for name, value in fields.items():
        check_flag(f"{type(spec).__name__}: {name}", value, error=SpecError)


def check_numbers(spec: object, **fields: object) -> None:
    """Check that every field is a finite number of at least 0."""
    for name, value in fields.items():
        check_number(f"{type(spec).__name__}: {name}", value, error=SpecError)


def check_factory(name: str, value: object, *, error: type[ZooError] = SpecError) -> None:
    """Check that a callable that makes modules is not itself a module."""
    if hasattr(value, "named_parameters") and not isinstance(value, type):
        raise error(f"{name}={value!r} is one module, and each layer needs its own; pass its class")


def check_one_of(spec: object, name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check that the field `name` has one of the values `choices`."""
    if value not in choices:
        raise SpecError(f"{type(spec).__name__}: {name}={value!r} must be one of {', '.join(map(repr, choices))}")


def check_sizes(spec: object, **fields: Size) -> int | None:
    """Check that every field is an int of at least 1, or a tuple of one to three of them. The tuples have one length.

    Return the number of dimensions that the tuples state; None if there is no tuple.
    """
    kind = type(spec).__name__
    for name, size in fields.items():
        if isinstance(size, tuple) and len(size) not in AXES:
            raise SpecError(f"{kind}: {name}={size!r} must be an int, or one to three ints: one per dimension")
        if not isinstance(size, int | tuple):
            raise SpecError(f"{kind}: {name}={size!r} must be an int, or a tuple of one to three ints")
        for side in size if isinstance(size, tuple) else (size,):
            check_positive(spec, **{name: side})
    tuples = {name: size for name, size in fields.items() if isinstance(size, tuple)}
    if len({len(size) for size in tuples.values()}) > 1:
        stated = ", ".join(f"{name}={size!r}" for name, size in tuples.items())
        raise SpecError(f"{kind}: {stated} have different lengths; give each one int per dimension, or one int")
    return next((len(size) for size in tuples.values()), None)


def check_padding(spec: object, padding: str, kernel: Size, stride: Size, dims: int | None) -> None:
    """Check the kind of padding. "same" must not lead to a negative padding. `dims` is what `check_sizes` returned."""
    check_one_of(spec, "padding", padding, ("half", "same", "valid"))
    sides = [as_tuple(size, dims or 1) for size in (kernel, stride)]
    if padding == "same" and set(sides[0]) != {1} and any(side < step for side, step in zip(*sides, strict=True)):
        raise SpecError(f"{spec}: padding='same' needs a kernel of one pixel, or one at least as large as the stride")
