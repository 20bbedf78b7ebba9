"""Checks of the fields of a layer. Each raises SpecError with the layer's class, the field, its value and the constraint."""

from __future__ import annotations

from ..errors import SpecError, check_flag, check_int, check_number
from ._geometry import Size, as_pair


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


def check_one_of(spec: object, name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check that the field `name` has one of the values `choices`."""
    if value not in choices:
        raise SpecError(f"{type(spec).__name__}: {name}={value!r} must be one of {', '.join(map(repr, choices))}")


def check_kernel(spec: object, kernel: Size) -> None:
    """Check that `kernel` is an int or (height, width), each at least 1."""
    if isinstance(kernel, tuple) and len(kernel) != 2:
        raise SpecError(f"{type(spec).__name__}: kernel={kernel!r} must be an int or a (height, width)")
    for side in kernel if isinstance(kernel, tuple) else (kernel,):
        check_positive(spec, kernel=side)


def check_padding(spec: object, padding: str, kernel: Size, stride: int) -> None:
    """Check the kind of padding. "same" must not lead to a negative padding."""
    check_one_of(spec, "padding", padding, ("half", "same", "valid"))
    if padding == "same" and kernel not in (1, (1, 1)) and min(as_pair(kernel)) < stride:
        raise SpecError(f"{spec}: padding='same' needs a kernel of one pixel, or one at least as large as the stride")
