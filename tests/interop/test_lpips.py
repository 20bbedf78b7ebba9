"""LPIPS: the package's distance with its own VGG-16 and with ours, on the same random weights and its own heads."""

import lpips
import pytest
import torch
from helpers import noise, one_thread

import inceptionzoo as iz

STAGES = ["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"]  # as in docs/uses.md
pytestmark = pytest.mark.filterwarnings(  # of torchvision, as lpips calls it
    "ignore:The parameter 'pretrained' is deprecated", "ignore:Arguments other than a weight enum"
)


@one_thread()
@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (37, 90)])
def test_the_distance_is_equal(size):
    torch.manual_seed(0)
    theirs = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    slices = {key.partition(".")[2]: value for key, value in theirs.net.state_dict().items()}
    weights = {f"features.{key}": value for key, value in slices.items()}
    ours = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    ours.net = iz.create_model("vgg16", weights=weights, head="pool", features_only=True, out_indices=STAGES).eval()
    images, others = noise(3, 3, *size).tanh(), noise(3, 3, *size, seed=2).tanh()
    expected = theirs(images, others)
    assert expected.min() > 0.01
    assert (ours(images, others) - expected).abs().max() <= 1e-6 * expected.max()
    assert ours(images, images).equal(torch.zeros(3, 1, 1, 1))
