"""fastai: vision_learner with a model from timm's registry."""

import pytest
import torch
from helpers import noise

import inceptionzoo as iz

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings(  # fastai 2.8 on import
        "ignore:`torch.jit.script` is deprecated", "ignore:The 'mode.chained_assignment' option is deprecated"
    ),
]


def test_a_learner_trains_the_body(page):
    names = page("fastai")
    learner, body, model = (names[name] for name in ("learner", "body", "model"))
    assert type(body) is iz.Net
    assert len(learner.opt.param_lists) == 2  # fine_tune needs two groups: body and head
    x = noise(2, 3, 64, 64)
    with torch.inference_mode():
        assert learner.model[0].eval()(x).equal(model.eval().forward_features(x))
    before = {key: value.clone() for key, value in body.named_parameters()}
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, lr=0.01)
    assert all(not value.equal(before[key]) for key, value in body.named_parameters())
