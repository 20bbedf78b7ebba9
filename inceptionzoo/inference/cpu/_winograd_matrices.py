"""The matrices of minimal filtering F(m, r): m outputs of a filter of r taps by m + r - 1 products.

Source: Winograd, Arithmetic complexity of computations (1980); Lavin and Gray (arXiv:1509.09308) for convolutional networks.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import prod
from typing import NamedTuple

POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2", "4", "-4")))  # small ones first: they round least

Matrix = tuple[tuple[float, ...], ...]


class Filtering(NamedTuple):
    """outputs = A (G filter * B inputs), for m + r - 1 inputs; products are elementwise."""

    outputs: Matrix  # A, m x (m + r - 1)
    filter: Matrix  # G, (m + r - 1) x r
    inputs: Matrix  # B, (m + r - 1) x (m + r - 1)


@cache
def filtering(m: int, r: int) -> Filtering:
    """Return the matrices of F(m, r), by interpolation at m + r - 2 points and infinity."""
    points = POINTS[: m + r - 2]
    last = (0,) * (m - 1) + (1,)
    outputs = [[point**power for point in points] + [Fraction(last[power])] for power in range(m)]
    kernel = [[point**power / _denominator(point, points) for power in range(r)] for point in points]
    kernel.append([Fraction(power == r - 1) for power in range(r)])
    inputs = [[*_polynomial([other for other in points if other != point]), Fraction(0)] for point in points]
    inputs.append(_polynomial(points))
    return Filtering(_floats(outputs), _floats(kernel), _floats(inputs))


def identity_filtering(taps: int, stride: int) -> Filtering:
    """Return the matrices of no filtering: the inputs of one output as they are, outputs `stride` apart."""
    return Filtering(_floats(_identity(stride)), (), _floats(_identity(taps)))


def _identity(size: int) -> list[list[Fraction]]:
    return [[Fraction(row == column) for column in range(size)] for row in range(size)]


def _denominator(point: Fraction, points: tuple[Fraction, ...]) -> Fraction:
    return prod((point - other for other in points if other != point), start=Fraction(1))


def _polynomial(roots: list[Fraction] | tuple[Fraction, ...]) -> list[Fraction]:
    """Return the coefficients of the polynomial with these roots, the constant first and 1 last."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def _floats(matrix: list[list[Fraction]]) -> Matrix:
    return tuple(tuple(map(float, row)) for row in matrix)
