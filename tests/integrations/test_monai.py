"""MONAI: its transforms, data set and sliding window around a network for volumes."""

import pytest
import torch

pytestmark = pytest.mark.integration


def test_a_ball_is_found(page):
    names = page("MONAI")
    heat, large = names["heat"], names["large"]
    assert heat.shape == large.shape == (1, 1, 64, 64, 64)
    heat = torch.as_tensor(heat)[0, 0]
    assert ((heat >= 0) & (heat <= 1)).all()
    near, far = heat[16:24, 16:24, 16:24].mean(), heat[48:, 48:, 48:].mean()
    assert near > far + 0.2
