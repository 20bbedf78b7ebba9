"""torchmetrics' FID gives the values of pytorch-fid, on the same images and the same random weights."""

import numpy
import pytest
import pytorch_fid.fid_score
import pytorch_fid.inception
import torch
from helpers import fill, noise
from PIL import Image
from torch import nn

import inceptionzoo as iz

pytestmark = pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated")  # pytorch-fid calls scipy's sqrtm


class Pooled(nn.Module):
    """The spatial mean of one feature map, like the smaller features of pytorch-fid."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)[0].mean((2, 3))


@pytest.fixture
def theirs(monkeypatch):
    """Return pytorch-fid's network with random weights instead of downloaded ones."""
    module = pytorch_fid.inception
    plain = module._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda url, progress: plain.state_dict())
    network = fill(module.fid_inception_v3(), noise(4, 3, 107, 107))
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda url, progress: network.state_dict())
    return network


@pytest.fixture
def folders(tmp_path):
    """Write two folders of 66 images. There are 64 features, so the covariances have full rank."""
    random = numpy.random.default_rng(0)
    for name, mean in (("real", 110), ("fake", 150)):
        (tmp_path / name).mkdir()
        for index, coarse in enumerate(random.normal(mean, 50, (66, 8, 8, 3)).clip(0, 255).astype("uint8")):
            Image.fromarray(coarse).resize((40, 48), Image.BICUBIC).save(tmp_path / name / f"{index:02}.png")
    return {name: tmp_path / name for name in ("real", "fake")}


def pixels(folder):
    images = [numpy.asarray(Image.open(path)) for path in sorted(folder.iterdir())]
    return torch.tensor(numpy.stack(images)).permute(0, 3, 1, 2) / 255


def updated(fid, images):
    with torch.inference_mode():
        for name, pixels in images.items():
            for batch in pixels.split(11):
                fid.update(batch, real=name == "real")
    return fid


@pytest.mark.full
def test_the_distance_equals_pytorch_fids(page, theirs, folders):
    metric = page("torchmetrics' FID")["metric"]
    state, images = theirs.state_dict(), {name: pixels(folder) for name, folder in folders.items()}
    stem = iz.create_model("inception_v3_fid", weights=state, features_only=True, out_indices=["pool1"]).eval()
    expected = pytorch_fid.fid_score.calculate_fid_given_paths(list(map(str, folders.values())), 11, "cpu", 64, 0)
    assert expected > 0.1
    assert float(updated(metric(Pooled(stem)), images).compute()) == pytest.approx(expected, rel=1e-6)

    whole = iz.create_model("inception_v3_fid", weights=state, num_classes=0).eval()
    fid = updated(metric(whole), {"real": images["real"][:3]})
    files = [str(path) for path in sorted(folders["real"].iterdir())[:3]]
    extractor = pytorch_fid.inception.InceptionV3([3])
    mean, covariance = pytorch_fid.fid_score.calculate_activation_statistics(files, extractor, 3, 2048, "cpu", 0)
    ours = fid.real_features_sum / 3
    numpy.testing.assert_allclose(ours, mean, rtol=1e-5, atol=1e-5 * abs(mean).max())
    product = fid.real_features_cov_sum - 3 * ours[:, None] * ours
    numpy.testing.assert_allclose(product / 2, covariance, rtol=1e-4, atol=1e-5 * abs(covariance).max())
