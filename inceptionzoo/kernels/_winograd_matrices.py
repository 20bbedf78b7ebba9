"""Matrices of Winograd's minimal filtering algorithm F(m, r): m outputs of an r-tap filter from m + r - 1 multiplications.

They are the transposed matrices of Toom-Cook multiplication of polynomials: evaluate both polynomials at m + r - 2 points and
at infinity, multiply the values, and interpolate. They are computed exactly, in fractions.

Source: Winograd, Arithmetic Complexity of Computations (1980); Lavin and Gray (arXiv:1509.09308) for convolutional networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from math import prod
from typing import NamedTuple, SupportsFloat

POINTS = tuple(
    map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2", "4", "-4"))
)  # those that cause the least rounding come first

Matrix = tuple[tuple[float, ...], ...]


class WinogradMatrices(NamedTuple):
    """The matrices of `outputs = A^T [(G g) * (B^T d)]` for a filter g of r taps and inputs d; `*` is elementwise."""

    output: Matrix  # A^T, m x (m + r - 1)
    filter: Matrix  # G, (m + r - 1) x r
    input: Matrix  # B^T, (m + r - 1) x (m + r - 1)


@cache
def winograd_matrices(m: int, r: int) -> WinogradMatrices:
    """Return the matrices of F(m, r)."""
    points = POINTS[: m + r - 2]
    output = [[*(point**power for point in points), int(power == m - 1)] for power in range(m)]
    kernel = [[point**power / _denominator(point, points) for power in range(r)] for point in points]
    kernel.append([Fraction(power == r - 1) for power in range(r)])
    inputs = [[*_polynomial([other for other in points if other != point]), Fraction(0)] for point in points]
    inputs.append(_polynomial(points))
    return WinogradMatrices(_floats(output), _floats(kernel), _floats(inputs))


def identity_matrix(size: int) -> Matrix:
    """Return the matrix that leaves a tile as it is."""
    return _floats([row == column for column in range(size)] for row in range(size))


def _denominator(point: Fraction, points: Sequence[Fraction]) -> Fraction:
    """Return the denominator of the point's Lagrange polynomial."""
    return prod((point - other for other in points if other != point), start=Fraction(1))


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients of the monic polynomial with these roots, from the constant up."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def _floats(rows: Iterable[Iterable[SupportsFloat]]) -> Matrix:
    return tuple(tuple(map(float, row)) for row in rows)
