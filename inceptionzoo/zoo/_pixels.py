"""Reduce pixels of any number type to 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError

DARKEST_16_BIT = 1 << 14  # a 16-bit image below this value probably holds 10, 12 or 14 bits

ROUNDING = 1e-3  # of 255: above the rounding errors of float32 pixels that have been normalised and back


def scale_to_bytes(values: NDArray[Any], max_value: float | None, name: str) -> NDArray[np.uint8]:
    """Return `values` as 8-bit pixels, rounded down; `max_value` is the value of white.

    Without `max_value`, white is 255 for uint8, 65535 for uint16 and 1 for floating point. Values of uint8 stay as they are.

    Raises:
        ArgumentError: the dtype needs `max_value`, a value is outside 0 to `max_value` or not finite, or a uint16 image is
            so dark that its values probably have fewer than 16 bits.
    """
    if values.dtype == np.uint8:
        return values
    is_16_bit = values.dtype.kind == "u" and values.dtype.itemsize == 2
    if values.dtype.kind not in "iuf":
        target = "uint8, with 255 for True" if values.dtype.kind == "b" else "uint8, uint16 or floating point"
        raise ArgumentError(f"{name} has dtype {values.dtype}; convert it to {target}")
    white = max_value or (65535 if is_16_bit else 1 if values.dtype.kind == "f" else None)
    if white is None:
        raise ArgumentError(
            f"{name} has dtype {values.dtype}, which does not say which value is white; convert 0..255 to uint8, or pass "
            "open_image(..., max_value=WHITE)"
        )
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= white:  # False for nan
        hint = "scale them, or pass open_image(..., max_value=WHITE)"
        raise ArgumentError(
            f"{name} has values from {low:g} to {high:g}; they must lie in 0..{white:g}, black to white: {hint}"
        )
    if is_16_bit and max_value is None:
        _check_brightness(int(values[..., :3].max() if values.ndim == 3 else high), name)
    scaled = values.astype(np.float64) * (255 / white)
    return (scaled + ROUNDING).astype(np.uint8)  # rounded down, as `astype` and `>> 8` do


def _check_brightness(high: int, name: str) -> None:
    """Check that the largest of 16-bit values is 0 or in the upper three quarters of the range.

    Images of 10, 12 and 14 bits are often stored in 16 bits, and would be almost black.

    Raises:
        ArgumentError: it is not.
    """
    if 0 < high < DARKEST_16_BIT:
        bits = max(high.bit_length(), 8)
        raise ArgumentError(
            f"{name} is stored in 16 bits, but its largest value is {high} of 65535; pass the value of "
            f"white: open_image(..., max_value={2**bits - 1}) for {bits} bits, or max_value=65535 if it is meant to be dark"
        )
