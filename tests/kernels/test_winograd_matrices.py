"""The matrices of Winograd's minimal filtering filter correctly, and equal those printed in the paper."""

import numpy as np
import pytest

from inceptionzoo.kernels._winograd_matrices import POINTS, winograd_matrices


@pytest.mark.parametrize(("m", "r"), [(1, 1), (2, 3), (4, 3), (6, 3), (2, 5), (4, 5), (2, 7), (4, 7)])
def test_matrices_compute_the_filter(m, r):
    output, kernel, inputs = map(np.array, winograd_matrices(m, r))
    assert inputs.shape == (m + r - 1, m + r - 1)
    rng = np.random.default_rng(0)
    taps, signal = rng.normal(size=r), rng.normal(size=m + r - 1)
    expected = np.correlate(signal, taps, "valid")
    assert output @ ((kernel @ taps) * (inputs @ signal)) == pytest.approx(expected, abs=1e-13)


def test_matrices_of_lavin_and_gray():
    """F(4, 3) has the matrices of their equations 22 to 24, up to the sign of a row of B^T, which G's row also changes."""
    output, kernel, inputs = winograd_matrices(4, 3)
    assert inputs[0] == (4, 0, -5, 0, 1, 0)
    assert inputs[3] == (0, -2, -1, 2, 1, 0)
    assert inputs[5] == (0, 4, 0, -5, 0, 1)
    assert output == ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
    assert kernel[0] == (1 / 4, 0, 0)
    assert kernel[3] == (1 / 24, 1 / 12, 1 / 6)
    assert kernel[5] == (0, 0, 1)


def test_points_are_distinct():
    assert len(set(POINTS)) == len(POINTS)
