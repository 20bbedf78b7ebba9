"""captum: Grad-CAM equals the code of docs/tasks.md, and DeepLift equals that on plain modules."""

import pytest
import torch
from captum.attr import DeepLift, LayerGradCam
from helpers import fill, noise
from torch import nn

import inceptionzoo as iz


def test_grad_cam_equals_the_page():
    model, x = fill(iz.create_model("googlenet", num_classes=2), noise(2, 3, 64, 64)), noise(1, 3, 64, 64)
    theirs = LayerGradCam(model, model.features.inception5b).attribute(x, target=1, relu_attributions=True)
    last = model.forward_features(x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.forward_head(last)[0, 1], last)
    ours = (gradient.mean((2, 3), keepdim=True) * last).sum(1, keepdim=True).relu()
    assert theirs.max() > 0
    torch.testing.assert_close(ours, theirs)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks and attributes on non-linear")
def test_deep_lift_sees_every_activation():
    """The attributions sum to the difference of the outputs, which they do not if a ReLU counts as linear."""
    net = iz.network(stem=iz.Conv(4, 3), block=iz.inception(2, 2, 2, 2, 2, 2), last=iz.Conv(4, 3))
    model = fill(iz.build(net), noise(2, 3, 16, 16)).double()
    x = noise(1, 3, 16, 16, seed=2).double().requires_grad_()
    baseline = torch.zeros_like(x).requires_grad_()
    total = DeepLift(nn.Sequential(model)).attribute(x, baseline, target=1).sum()
    torch.testing.assert_close(total, (model(x) - model(baseline))[0, 1].detach())
