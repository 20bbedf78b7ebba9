"""Files under other libraries' names: the peers load them strictly, and we read them back."""

import warnings

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from pytorchcv.models.bninception import bninception
from pytorchcv.models.inceptionresnetv1 import inceptionresnetv1

import inceptionzoo as iz
from inceptionzoo.registry import REGISTRY

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SyntaxWarning)
    from pretrainedmodels.models.bninception import bninception as cadene_bninception

PLAIN = {"weights": None, "init_weights": False}
VGGS = iz.list_models("vgg*", exclude_filters=["*cifar", "vgg11_lrn", "vgg16_1x1"])
PEERS = {  # (our model, layout): the peer's, of 1000 classes
    ("googlenet", "torchvision"): lambda: torchvision.models.googlenet(aux_logits=False, **PLAIN),
    ("inception_v3", "torchvision"): lambda: torchvision.models.inception_v3(aux_logits=False, **PLAIN),
    ("bn_inception", "cadene"): lambda: cadene_bninception(pretrained=None),
    ("bn_inception", "pytorchcv"): bninception,
    ("inception_v4", "timm"): lambda: timm.create_model("inception_v4"),
    ("inception_resnet_v1", "pytorchcv"): inceptionresnetv1,
    ("inception_resnet_v2", "timm"): lambda: timm.create_model("inception_resnet_v2"),
    ("xception", "timm"): lambda: timm.create_model("legacy_xception"),
    **{(name, "torchvision"): lambda name=name: getattr(torchvision.models, name)(**PLAIN) for name in VGGS},
    **{(name, "timm"): lambda name=name: timm.create_model(name) for name in VGGS},
}
OWN = {"googlenet_5x5", "googlenet_cifar", "inception_v3_fid", "vgg11_lrn", "vgg16_1x1"}  # no package loads these as they are


@pytest.mark.parametrize(("name", "layout"), PEERS, ids="-".join)
def test_the_names_and_shapes_are_the_peers(name, layout):
    """On the meta device, where shapes are checked as on any other and large models cost nothing."""
    with torch.device("meta"):
        peer = PEERS[name, layout]()
    table = next(item for item in REGISTRY[name].layouts if item.name == layout)
    model = iz.create_model(name, device="meta")
    theirs, state = peer.state_dict(), model.state_dict()
    shapes = dict(table.shapes)
    written = {table.theirs(key): value.reshape(shapes.get(key, value.shape)).shape for key, value in state.items()}
    assert written == {key: value.shape for key, value in theirs.items()}


def test_every_layout_has_a_peer_or_a_reason():
    known = {(name, layout.name) for name, entry in REGISTRY.items() for layout in entry.layouts}
    rest = {name for name, layout in known - set(PEERS)}
