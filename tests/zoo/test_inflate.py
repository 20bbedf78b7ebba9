"""`inflate`: a network for images, with its weights, as one for videos."""

import pytest
import torch
from helpers import IMAGE_MODELS, distance, fill, noise, quick
from torch import nn

import inceptionzoo as iz
from inceptionzoo.spec import make_network
from inceptionzoo.zoo import find_entry

NAMES = IMAGE_MODELS
FAMILIES = ("googlenet_paper", "bn_inception", "inception_v3", "inception_v4", "inception_resnet_v1")
FAMILIES += ("xception_keras", "vgg11", "vgg16_bn_cifar")
VARIANTS = [{"padding": "same"}, {"output_stride": 8}, {"ceil_mode": "pad"}, {"include_pad": True}]
ROUNDED = 5e-5  # in float32; VGG-19 with batch normalisation differed by 1.7e-5
SHORT = {"vgg11": "pool", "vgg13": "conv", "vgg13_bn": "pool", "vgg16": "pool", "vgg19": "conv"}  # heads of few weights


def make(name: str, **arguments: object) -> iz.Net:
    head = {"head": SHORT[name]} if name in SHORT else {}
    return iz.create_model(name, num_classes=5, **head, **arguments)


@torch.no_grad()
@pytest.mark.parametrize("name", quick(NAMES, FAMILIES))
def test_a_still_clip_gives_the_outputs_of_its_image(name):
    """In every frame of the last map, for one frame and for several, with borders and without padding."""
    model = fill(make(name))
    side = max(33, model.min_input_size)
    image = noise(2, 3, side, side + 2)
    inflated = iz.inflate(model, length=16)
    assert inflated.network == make_network(find_entry(name), inflated.arguments)
    assert inflated.data.input_size == (3, 16, *model.data.size)
    logits, expected = model(image), model.forward_features(image)
    for frames in (1, 5):
        clip = image[:, :, None].repeat(1, 1, frames, 1, 1)
        assert distance(inflated(clip), logits) < ROUNDED
        maps = inflated.forward_features(clip)
        for frame in maps.unbind(2):
            assert distance(frame, expected) < ROUNDED


@torch.no_grad()
def test_a_moving_clip_gives_other_outputs():
    model = fill(make("googlenet"))
    inflated, clip = iz.inflate(model, length=4), noise(1, 3, 4, 64, 64)
    assert distance(inflated(clip), inflated(clip.flip(2))) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_variants_are_inflated_too(name, arguments):
    model = fill(make(name, **arguments))
    image = noise(1, 3, 81, 81)
    inflated = iz.inflate(model, length=3)
    assert inflated.network == make_network(find_entry(name), inflated.arguments)
    assert distance(inflated(image[:, :, None].repeat(1, 1, 3, 1, 1)), model(image)) < ROUNDED
    assert distance(iz.fuse(inflated)(image[:, :, None]), model(image)) < 1e-4


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_traced_exported_and_compiled(name):
    inflated = iz.inflate(fill(make(name)).requires_grad_(False), length=3)
    side = max(33, inflated.min_input_size)
    clip = noise(1, 3, 4, side, side)
    expected = inflated(clip)
    assert torch.fx.symbolic_trace(inflated)(clip).equal(expected)
    assert distance(torch.export.export(inflated, (clip,)).module()(clip), expected) < 1e-6
    assert distance(torch.compile(inflated, fullgraph=True, backend="eager")(clip), expected) < 1e-6


def test_the_model_is_saved_and_loaded(tmp_path):
    model = fill(make("vgg11_bn_cifar"))
    inflated = iz.inflate(model, length=3)
    iz.save_weights(inflated, tmp_path / "clips.safetensors")
    loaded, clip = iz.load_model(tmp_path / "clips.safetensors"), noise(1, 3, 3, 33, 33)
    assert loaded(clip).equal(inflated.eval()(clip))
    assert loaded.network.style.time_padding == "replicate"
    again = iz.create_model("vgg11_bn_cifar", weights=tmp_path / "clips.safetensors").eval()
    assert again(clip).equal(loaded(clip))


def test_settings_are_kept_and_nothing_is_shared():
    model = make("googlenet_cifar", in_chans=1, drop_rate=0.3, dtype=torch.float64)
    model.set_class_names(list("abcde"))
    model.features.conv1.requires_grad_(False)
    model.features.inception3a.eval()
    model.set_grad_checkpointing()
    inflated = iz.inflate(model, length=2)
    assert inflated.class_names == ("a", "b", "c", "d", "e")
    assert (inflated.in_chans, inflated.drop_rate, inflated.grad_checkpointing) == (1, 0.3, True)
    assert [p.requires_grad for p in inflated.parameters()] == [p.requires_grad for p in model.parameters()]
    assert {p.dtype for p in inflated.parameters()} == {torch.float64}
    assert inflated.training
    assert not inflated.features.inception3a.training
    ours, theirs = ({p.untyped_storage().data_ptr() for p in each.parameters()} for each in (inflated, model))
    assert not ours & theirs
    inflated(noise(2, 1, 2, 9, 9).double()).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_of_ones_own_is_inflated():
    network = iz.network(a=iz.Conv(4, 3, 2), b=iz.Residual(iz.Conv(4, (1, 3)), scale=0.5), act=iz.Act())
    model = fill(iz.build(network)).requires_grad_(False)
    inflated, image = iz.inflate(model, length=7), noise(2, 3, 9, 9)
    assert inflated.entry is None
    assert distance(inflated(image[:, :, None].repeat(1, 1, 7, 1, 1)), model(image)) < ROUNDED


def test_what_cannot_be_inflated_is_refused():
    model = iz.build(iz.network(a=iz.Conv(4, 3)))
    head = iz.build(iz.network(a=iz.Conv(4, 3)))
    head.head = nn.Linear(4, 2)
    op = iz.build(iz.network(a=iz.Op(lambda channels: nn.Conv2d(channels, 4, 1), 4)))
    wrong = [
        (lambda: iz.inflate(model, length=0), "length=0 must be an int from 1"),
        (lambda: iz.inflate(model.features, length=2), "inflate takes a model of create_model or build"),
        (lambda: iz.inflate(iz.fuse(model), length=2), "fused or has auxiliary heads"),
        (lambda: iz.inflate(iz.with_aux(iz.create_model("googlenet")), length=2), "fused or has auxiliary heads"),
        (lambda: iz.inflate(iz.inflate(model, length=2), length=2), "this one has 3 spatial dimensions"),
        (lambda: iz.inflate(head, length=2), "inflate: head is of type Linear"),
        (lambda: iz.inflate(op, length=2), "spatial_dims=3 cannot change Op"),
        (lambda: iz.inflate(iz.create_model("googlenet", norm_layer=nn.BatchNorm2d), length=2), "is your own module"),
    ]
    for call, text in wrong:
        with pytest.raises(iz.ZooError) as raised:
            call()
        assert text in str(raised.value)


def test_published_weights_of_images_name_inflate():
    with pytest.raises(iz.ArgumentError, match=r"inflate\(create_model\('googlenet', pretrained=True\), length=16\)"):
        iz.create_model("googlenet", pretrained=True, spatial_dims=3)


def test_a_file_of_images_names_inflate(tmp_path):
    iz.save_weights(make("googlenet_cifar"), tmp_path / "images.safetensors")
    state = make("googlenet_cifar").state_dict()
    with pytest.raises(iz.MismatchError, match=r"call inflate\(model, length=...\)"):
        iz.load_weights(make("googlenet_cifar", spatial_dims=3), state)
    with pytest.raises(iz.ZooError):
        iz.create_model("googlenet_cifar", spatial_dims=3, weights=tmp_path / "images.safetensors")
