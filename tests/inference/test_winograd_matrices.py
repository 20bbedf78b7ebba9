"""The matrices of minimal filtering: exact, and those that papers print."""

import numpy as np
import pytest

from inceptionzoo.inference.cpu._winograd_matrices import POINTS, filtering


@pytest.mark.parametrize(("m", "r"), [(1, 1), (2, 3), (4, 3), (6, 3), (2, 5), (4, 5), (2, 7), (4, 7)])
def test_they_filter(m, r):
    outputs, kernel, inputs = map(np.array, filtering(m, r))
    assert inputs.shape == (m + r - 1, m + r - 1)
    draw = np.random.default_rng(0)
    taps, signal = draw.normal(size=r), draw.normal(size=m + r - 1)
    expected = np.correlate(signal, taps, "valid")
    assert outputs @ ((kernel @ taps) * (inputs @ signal)) == pytest.approx(expected, abs=1e-13)


def test_lavin_and_gray():
    """Their F(4, 3), equations 22 to 24, up to the sign of a row, which the filter's takes back."""
    outputs, kernel, inputs = filtering(4, 3)
    assert inputs[0] == (4, 0, -5, 0, 1, 0)
    assert inputs[3] == (0, -2, -1, 2, 1, 0)
    assert inputs[5] == (0, 4, 0, -5, 0, 1)
    assert outputs == ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
    assert kernel[0] == (1 / 4, 0, 0)
    assert kernel[3] == (1 / 24, 1 / 12, 1 / 6)
    assert kernel[5] == (0, 0, 1)


def test_points_differ():
    assert len(set(POINTS)) == len(POINTS)
