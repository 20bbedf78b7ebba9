"""I3D beside Figure 3 of its paper and the most used port."""

import pytest
import torch
from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
from helpers import distance, fill, noise, one_thread, outputs
from torch import nn

import inceptionzoo as iz

ENDS = {  # our stages and the endpoints of the port
    "conv1": "Conv3d_1a_7x7",
    "pool1": "MaxPool3d_2a_3x3",
    "conv2": "Conv3d_2c_3x3",
    "pool2": "MaxPool3d_3a_3x3",
    "inception3a": "Mixed_3b",
    "inception3b": "Mixed_3c",
    "pool3": "MaxPool3d_4a_3x3",
    **{f"inception4{ours}": f"Mixed_4{theirs}" for ours, theirs in zip("abcde", "bcdef", strict=True)},
    "pool4": "MaxPool3d_5a_2x2",
    "inception5a": "Mixed_5b",
    "inception5b": "Mixed_5c",
    "pool5": "avg_pool",
}


@pytest.fixture(scope="module")
def reference():
    model = fill(InceptionI3d())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-3  # TensorFlow's, which this port does not have
    return model


@pytest.fixture(scope="module")
def ours(reference):
    model = iz.create_model("i3d")
    assert iz.load_weights(model, reference.state_dict()).layout == "pytorch-i3d"
    return model.eval()


def test_parameters():
    assert iz.model_info("i3d").params == 12_697_264
    assert iz.model_info("i3d").num_classes == 400
    assert iz.model_info("i3d").macs == pytest.approx(111.2e9, rel=1e-3)


@one_thread()
@torch.no_grad()
@pytest.mark.parametrize("size", [(9, 224, 224)], ids=str)
def test_equals_the_port_at_every_stage(reference, ours, size):
    x = noise(1, 3, *size)
    theirs = outputs({name: getattr(reference, end) for name, end in ENDS.items()}, lambda: reference(x))
    mine = outputs(dict(ours.features.named_children()), lambda: ours(x))
    assert list(mine) == list(ENDS)
    # mostly 0.0; the port pads before each convolution, for which torch may choose another algorithm
    assert all(distance(mine[name], theirs[name]) < 5e-6 for name in ENDS)


@one_thread()
@torch.no_grad()
def test_logits_are_those_of_the_port(reference, ours):
    x = noise(1, 3, 17, 224, 224)  # two positions of the average pool
    assert distance(ours(x), reference(x)) < 1e-6


@pytest.mark.parametrize(("frames", "side"), [(8, 224), (9, 192)])
def test_the_least_clip_is_that_of_the_port(reference, ours, frames, side):
    x = noise(1, 3, frames, side, 224).to("meta")
    with pytest.raises(iz.InputError, match=f"images of {frames}x{side}x224 px are too small|do not fit"):
        ours(x.new_empty(x.shape, device="cpu"))
    small = iz.create_model("i3d", window=None, num_classes=3, device="meta")
    assert small(x).shape == (1, 3)


def test_weights_return_to_the_port(reference, ours):
    state = iz.weights.exported_state_dict(ours, layout="pytorch-i3d")
    assert state.keys() == reference.state_dict().keys()
    assert all(value.equal(state[key]) for key, value in reference.state_dict().items())


@torch.no_grad()
def test_image_weights_bootstrap_it(ours):
    """The names are those of GoogLeNet: weights of images, inflated, are those of I3D. Only the paddings differ."""
    images = iz.create_model("googlenet", num_classes=400)
    videos = iz.inflate(images, length=16)
    assert videos.state_dict().keys() == ours.state_dict().keys()
    copy = iz.create_model("i3d")
    copy.load_state_dict(videos.state_dict())


def test_optical_flow_has_two_channels():
    model = iz.create_model("i3d.flow_kinetics400", device="meta")
    assert model.in_chans == 2
    assert model.data.input_size == (2, 64, 224, 224)
    assert model.data.value_range == ((-1, -1), (1, 1))


def test_the_size_of_clips_is_set():
    model = iz.create_model("i3d", device="meta")
    model.set_input_size((16, 224, 224))
    assert model.data.input_size == (3, 16, 224, 224)
    with pytest.raises(iz.InputError, match=r"img_size=\(8, 224, 224\): images of 8x224x224 px do not fit"):
        model.set_input_size((8, 224, 224))
    with pytest.raises(iz.ArgumentError, match=r"img_size=\(224, 224\) must be an int or \(depth, height, width\)"):
        model.set_input_size((224, 224))


@pytest.mark.parametrize("window", [(2, 7, 7), (3, 7, 7), 3], ids=str)
def test_the_last_average_is_never_padded(window):
    network = iz.create_model("i3d", window=window, padding="same", device="meta").network
    assert dict(network.stages)["pool5"] == iz.Pool("avg", window, 1, "valid")
