"""TorchScript: a model traced by torch.fx, then scripted."""

import pytest
import torch
from helpers import distance

pytestmark = pytest.mark.integration


@pytest.mark.filterwarnings("ignore:The TorchScript type system:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:FutureWarning")
def test_a_traced_model_can_be_scripted(page):
    names = page("TorchScript")
    with torch.inference_mode():
        assert distance(names["logits"], names["model"](torch.ones(1, 3, 64, 64))) < 1e-6
