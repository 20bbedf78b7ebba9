"""Models that the same weights fit, and that compute something else, are named in the report."""

import pytest
import torch
from helpers import noise, tiny_network

import inceptionzoo as iz
from inceptionzoo.spec import make_network
from inceptionzoo.zoo._registry import REGISTRY
from inceptionzoo.zoo._similar import describe_similar_models

SIMILAR = [
    ("inception_v3", 1000, "inception_v3_fid, which computes other outputs"),
    ("inception_v3", 1008, "inception_v3_fid (its published weights have 1008 classes too), which computes other outputs"),
    ("inception_v3_fid", 1000, "inception_v3 (its published weights have 1000 classes too), which computes other outputs"),
    ("xception", 1000, "xception_keras, which computes other outputs"),
    ("googlenet", 1000, ""),
    ("vgg11", 1000, ""),
]


@pytest.mark.parametrize(("name", "classes", "text"), SIMILAR)
def test_similar_models_of_the_registry(name, classes, text):
    entry = REGISTRY[name]
    assert describe_similar_models(entry, make_network(entry, {}), classes) == text


def test_the_report_names_a_model_that_the_weights_fit_too(register, tmp_path):
    layouts = (iz.Layout("own", (("features.stem.", "start."),)),)
    register("plain", tiny_network, layouts=layouts)
    register("strided", lambda: iz.network(stem=iz.Conv(4, 3, 2), block=tiny_network().stages[1][1]), layouts=layouts)
    register("wide", tiny_network(width=8), layouts=layouts)
    model = iz.create_model("plain", num_classes=3).eval()
    again = iz.create_model("strided", weights=model.state_dict()).eval()
    assert not torch.allclose(model(noise(1, 3, 8, 8)), again(noise(1, 3, 8, 8)))
    assert "also_fits: plain, which computes other outputs" in str(again.report)
    assert iz.create_model("wide", weights=iz.create_model("wide").state_dict()).report.also_fits == ""
    iz.save_weights(model, tmp_path / "a.safetensors")
    assert iz.create_model("plain", weights=tmp_path / "a.safetensors").report.also_fits == ""
