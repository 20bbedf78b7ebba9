"""FID: the four ways of docs/fid.md give the features of pytorch-fid, torch-fidelity, torchmetrics and clean-fid.

The networks of the packages have the same random weights as ours.
"""

from inspect import signature
from pathlib import Path

import pytest
import pytorch_fid.inception
import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from helpers import distance, fill, noise
from pages import blocks
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.image.fid import NoTrainInceptionV3

import inceptionzoo as iz

PAGE = Path(__file__).parents[2] / "docs" / "fid.md"
WAYS = "pytorch-fid", "torch-fidelity", "torchmetrics", "clean-fid"


@pytest.fixture(scope="module")
def model() -> iz.Net:
    return fill(iz.create_model("inception_v3_fid"), noise(2, 3, 107, 107))


@pytest.fixture(scope="module")
def ways():
    names: dict[str, object] = {}
    exec(blocks(PAGE.read_text())[0][0], names)
    return names["ways"]


@pytest.fixture(params=[64, 350], ids=["enlarged", "shrunk"])
def images(request) -> torch.Tensor:
    return (noise(2, 3, request.param, request.param + 9) * 60 + 128).clamp(0, 255).byte()


def features(model: iz.Net, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the 64 features after the first max pool and the 2,048 before the classifier."""
    last, (first,) = model.forward_intermediates(x, ["pool1"])
    return [first.mean((2, 3)), model.forward_head(last, pre_logits=True)]


@pytest.fixture
def weights_file(model, tmp_path) -> str:
    path = tmp_path / "weights.pth"
    iz.export_weights(model, path, layout="torchvision")
    return str(path)


@torch.no_grad()
def test_pytorch_fid(model, ways, images, weights_file, monkeypatch):
    module = pytorch_fid.inception
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda url, progress: torch.load(weights_file))
    theirs = module.InceptionV3([0, 3]).eval()(images / 255)
    for ours, expected in zip(features(model, ways["pytorch-fid"](images.float())), theirs, strict=True):
        assert distance(ours, expected.mean((2, 3))) < 1e-5


@torch.no_grad()
def test_torch_fidelity(model, ways, images, weights_file):
    theirs = FeatureExtractorInceptionV3("network", ["64", "2048"], weights_file).eval()(images)
    for ours, expected in zip(features(model, ways["torch-fidelity"](images.float())), theirs, strict=True):
        assert distance(ours, expected) < 1e-5


@torch.no_grad()
def test_torchmetrics(model, ways, images, weights_file):
    """Older versions, which have no argument `antialias`, resize as torch-fidelity does."""
    has_filter = "antialias" in signature(NoTrainInceptionV3).parameters
    way = ways["torchmetrics" if has_filter else "torch-fidelity"]
    for ours, number in zip(features(model, way(images.float())), ("64", "2048"), strict=True):
        assert distance(ours, NoTrainInceptionV3("network", [number], weights_file)(images)) < 1e-5


@torch.no_grad()
def test_clean_fid(ways, images):
    """clean-fid's network is a TorchScript file, so that its input is compared."""
    network, seen = InceptionV3W.__new__(InceptionV3W), []
    nn.Module.__init__(network)
    network.resize_inside, network.layers = False, nn.Identity()
    network.layers.forward = lambda x: seen.append(x) or x.new_zeros(len(x), 2048)
    resize = build_resizer("clean")
    arrays = [resize(image.permute(1, 2, 0).numpy()) for image in images]
    network(torch.stack([torch.tensor(array).permute(2, 0, 1) for array in arrays]))
    assert ways["clean-fid"](images.float()).equal(seen[0])


def test_the_four_ways_differ(model, ways, images):
    with torch.no_grad():
        results = [features(model, ways[name](images.float()))[0] for name in WAYS]
    for index, first in enumerate(results):
        assert all(distance(first, second) > 1e-4 for second in results[:index])
