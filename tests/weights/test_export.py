"""Exported files: the other libraries load them with strict=True, and this library reads them back."""

import warnings

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
from pytorchcv.models.bninception import bninception
from pytorchcv.models.inceptionresnetv1 import inceptionresnetv1
from pytorchcv.models.xception import xception

import inceptionzoo as iz
from inceptionzoo.spec import KerasLayout
from inceptionzoo.weights._export import exported_state_dict
from inceptionzoo.zoo._registry import REGISTRY

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SyntaxWarning)
    from pretrainedmodels.models.bninception import bninception as cadene_bninception
    from pretrainedmodels.models.inceptionresnetv2 import inceptionresnetv2 as cadene_inceptionresnetv2
    from pretrainedmodels.models.xception import xception as cadene_xception

PLAIN = {"weights": None, "init_weights": False}
VGGS = iz.list_models("vgg*", exclude_filters=["*cifar", "vgg11_lrn", "vgg16_1x1"])
PEERS = {  # {(our model, layout): builder of the other library's model, of 1000 classes}
    ("s3d", "torchvision"): torchvision.models.video.s3d,
    ("i3d", "pytorch-i3d"): InceptionI3d,
    ("googlenet", "torchvision"): lambda: torchvision.models.googlenet(aux_logits=False, **PLAIN),
    ("inception_v3", "torchvision"): lambda: torchvision.models.inception_v3(aux_logits=False, **PLAIN),
    ("bn_inception", "cadene"): lambda: cadene_bninception(pretrained=None),
    ("bn_inception", "pytorchcv"): bninception,
    ("inception_v4", "timm"): lambda: timm.create_model("inception_v4"),
    ("inception_resnet_v1", "pytorchcv"): inceptionresnetv1,
    ("xception", "pytorchcv"): xception,
    ("inception_resnet_v2", "timm"): lambda: timm.create_model("inception_resnet_v2"),
    ("inception_resnet_v2", "cadene"): lambda: cadene_inceptionresnetv2(pretrained=None),
    ("xception", "timm"): lambda: timm.create_model("legacy_xception"),
    ("xception", "cadene"): lambda: cadene_xception(pretrained=None),
    **{(name, "torchvision"): lambda name=name: getattr(torchvision.models, name)(**PLAIN) for name in VGGS},
    **{(name, "timm"): lambda name=name: timm.create_model(name) for name in VGGS},
}
NO_PEER = {
    "inception_time",  # sktime's and tsai's: test_inception_time.py
    "xception_keras",
    "googlenet_5x5",
    "googlenet_cifar",
    "inception_v3_fid",
    "vgg11_lrn",
    "vgg16_1x1",
}  # in no other package


@pytest.mark.parametrize(("name", "layout"), PEERS, ids="-".join)
def test_names_and_shapes_are_those_of_the_other_library(name, layout):
    """The models are on the meta device, because only names and shapes are compared."""
    with torch.device("meta"):
        peer = PEERS[name, layout]()
    table = next(item for item in REGISTRY[name].layouts if item.name == layout)
    model = iz.create_model(name, device="meta")
    theirs, state = peer.state_dict(), model.state_dict()
    shapes = dict(table.shapes)
    written = {table.theirs(key): value.reshape(shapes.get(key, value.shape)).shape for key, value in state.items()}
    assert written == {key: value.shape for key, value in theirs.items()}


def test_every_layout_is_compared_or_known_to_have_no_package():
    layouts = [(name, layout) for name, entry in REGISTRY.items() for layout in entry.layouts]
    known = {(name, layout.name) for name, layout in layouts if not isinstance(layout, KerasLayout)}  # see test_keras.py
    rest = {name for name, layout in known - set(PEERS)}
    cifar = set(iz.list_models("*_cifar"))
    assert rest <= NO_PEER | cifar | {"inception_resnet_v1"}  # facenet-pytorch's is tested in test_inception_resnet.py


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_torchvision_loads_it_strictly_and_we_read_it_back(tmp_path, suffix):
    model, path = iz.with_aux(iz.create_model("googlenet", num_classes=3)).eval(), tmp_path / f"a{suffix}"
    model.to(memory_format=torch.channels_last)
    iz.export_weights(model, path, layout="torchvision")
    peer = torchvision.models.googlenet(aux_logits=True, num_classes=3, **PLAIN).eval()
    read = safetensors.torch.load_file(path) if suffix == ".safetensors" else torch.load(path, weights_only=True)
    peer.load_state_dict(read, strict=True)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(peer(x), model(x))
    again = iz.create_model("googlenet", weights=path)
    assert again.report.layout == "torchvision"
    assert all(value.equal(model.state_dict()[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("head", ["mlp", "conv"])
def test_vggs_dense_layers_take_the_other_librarys_shape(head):
    model = iz.create_model("vgg11", num_classes=2, head=head)
    states = {name: exported_state_dict(model, name) for name in ("torchvision", "timm")}
    assert states["torchvision"]["classifier.0.weight"].shape == (4096, 25088)
    assert states["timm"]["pre_logits.fc1.weight"].shape == (4096, 512, 7, 7)
    fc1 = model.state_dict()["head.hidden.fc1.weight"]
    for state in states.values():
        assert sum(value.flatten().equal(fc1.flatten()) for value in state.values()) == 1
    before = fc1.clone()
    states["timm"]["pre_logits.fc1.weight"].zero_()
    assert fc1.equal(before)  # no memory is shared


@pytest.mark.parametrize(
    ("name", "layout", "arguments", "text"),
    [
        ("googlenet", "torchvision", {"act_layer": "silu"}, "style.act: 'relu' and 'silu', theirs first; use save_weights"),
        ("googlenet", "torchvision", {"padding": "same"}, "stages.conv1"),
        ("googlenet", "torchvision", {"output_stride": 8}, "stages"),
        ("googlenet", "torchvision", {"spatial_dims": 3}, "spatial_dims: 2 and 3"),
        ("googlenet", "torchvision", {"global_pool": "catavgmax"}, "has global_pool='avg', not 'catavgmax'; use save_weights"),
        ("googlenet", "torchvision", {"global_pool": "max"}, "has global_pool='avg', not 'max'; use save_weights"),
        ("inception_v3", "torchvision", {"norm_layer": "groupnorm"}, "style.norm: 'batch' and 'group'"),
        ("vgg11", "torchvision", {"head": "pool"}, "whose head has 2 hidden layers, not 0; use save_weights"),
        ("vgg11_bn_cifar", "pytorch-cifar", {"head": "mlp"}, "whose head has 0 hidden layers, not 2"),
        ("inception_resnet_v1", "facenet-pytorch", {"bottleneck": None}, "whose head has 1 hidden layers, not 0"),
    ],
    ids=str,
)
def test_the_network_of_another_library_has_no_variants(name, layout, arguments, text):
    model = iz.create_model(name, num_classes=2, **arguments)
    with pytest.raises(iz.MismatchError, match=f"is not the network of the layout '{layout}'.*{text}"):
        exported_state_dict(model, layout)


def test_another_epsilon_is_no_other_network():
    model = iz.create_model("xception", num_classes=2, eps=1e-3, device="meta").to_empty(device="cpu")
    model.load_state_dict({key: torch.zeros_like(value) for key, value in model.state_dict().items()})
    assert "conv1.weight" in exported_state_dict(model, "timm")


def test_timms_global_pooling_may_be_any():
    model = iz.create_model("inception_v4", num_classes=2, global_pool="max", device="meta").to_empty(device="cpu")
    model.load_state_dict({key: torch.zeros_like(value) for key, value in model.state_dict().items()})
    timm.create_model("inception_v4", num_classes=2, global_pool="max").load_state_dict(exported_state_dict(model, "timm"))


def test_invalid_exports_are_refused(tmp_path, tiny):
    empty = iz.create_model("googlenet", device="meta")
    with pytest.raises(iz.ArgumentError, match=r"must be one of 'torchvision'; did you mean 'torchvision'\?"):
        iz.export_weights(empty, tmp_path / "a.pth", layout="torchvison")
    with pytest.raises(iz.ArgumentError, match="meta device"):
        iz.export_weights(empty, tmp_path / "a.pth", layout="torchvision")
    with pytest.raises(iz.ArgumentError, match="no other library has a layout for this model; use save_weights"):
        iz.export_weights(tiny, tmp_path / "a.pth", layout="torchvision")
    with pytest.raises(iz.ArgumentError, match="model is a Linear"):
        iz.export_weights(torch.nn.Linear(1, 1), tmp_path / "a.pth", layout="torchvision")
    with pytest.raises(iz.FileError, match=r"a\.txt must end in one of \.safetensors, \.pth"):
        iz.export_weights(iz.create_model("googlenet_cifar"), tmp_path / "a.txt", layout="pytorch-cifar")
    assert not list(tmp_path.iterdir())
