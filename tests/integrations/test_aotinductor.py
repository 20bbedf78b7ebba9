"""AOTInductor: a compiled package."""

import pytest
import torch
from helpers import distance, noise

pytestmark = pytest.mark.integration


def test_a_package_with_a_dynamic_batch(page):
    names = page("AOTInductor")
    with torch.inference_mode():
        assert distance(names["logits"], names["model"](names["images"])) < 1e-4
        for count in (1, 5):
            x = noise(count, 3, 64, 64)
            assert distance(names["run"](x), names["model"](x)) < 1e-4
