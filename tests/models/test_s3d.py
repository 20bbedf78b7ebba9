"""S3D beside torchvision's."""

import pytest
import torch
from helpers import distance, fill, noise, one_thread, outputs
from torchvision.models.video import S3D_Weights, s3d

import inceptionzoo as iz
from inceptionzoo.spec import network_cost

STAGES = ["conv1", "pool1", ("conv2", 0), ("conv2", 1), "pool2", "inception3a", "inception3b", "pool3"]
STAGES += [*(f"inception4{row}" for row in "abcde"), "pool4", "inception5a", "inception5b"]  # of torchvision's `features`
PUBLISHED = S3D_Weights.KINETICS400_V1


@pytest.fixture(scope="module")
def reference():
    return fill(s3d())


@pytest.fixture(scope="module")
def ours(reference):
    model = iz.create_model("s3d")
    assert iz.load_weights(model, reference.state_dict()).layout == "torchvision"
    return model.eval()


def test_parameters_and_cost():
    info, meta = iz.model_info("s3d"), PUBLISHED.meta
    assert info.params == meta["num_params"] == 8_320_048
    network = iz.create_model("s3d", device="meta").network
    macs = network_cost(network, iz.Shape(3, 16, 224, 224), 400).macs
    assert macs / 1e9 == pytest.approx(meta["_ops"], abs=1e-3)


@one_thread()
@torch.no_grad()
@pytest.mark.parametrize("size", [(14, 96, 96), (23, 65, 80)], ids=str)
def test_equals_torchvision_at_every_stage(reference, ours, size):
    x = noise(1, 3, *size)
    small = iz.create_model("s3d", window=None, weights=ours.state_dict()).eval()  # the pool before the head needs 209 px
    theirs = outputs({str(index): module for index, module in enumerate(reference.features)}, lambda: reference.features(x))
    parts = {
        str(index): small.features.get_submodule(name if isinstance(name, str) else f"{name[0]}.{name[1]}")
        for index, name in enumerate(STAGES)
    }
    mine = outputs(parts, lambda: small(x))
    assert mine.keys() == theirs.keys()
    assert all(mine[index].equal(theirs[index]) for index in theirs)


@one_thread()
@torch.no_grad()
def test_logits_are_torchvisions(reference, ours):
    x = noise(1, 3, 14, 224, 224)
    assert distance(ours(x), reference(x)) < 1e-6  # a dense layer of the mean, not a mean of convolutions


def test_the_least_clip_is_torchvisions(reference, ours):
    with torch.device("meta"):
        assert s3d()(noise(1, 3, 13, 209, 209).to("meta")).shape == (1, 400)
    assert iz.create_model("s3d", device="meta")(noise(1, 3, 13, 209, 209).to("meta")).shape == (1, 400)
    with pytest.raises(RuntimeError):
        reference(noise(1, 3, 12, 224, 224))
    with pytest.raises(iz.InputError):
        ours(noise(1, 3, 12, 224, 224))


def test_a_square_and_a_line_take_the_place_of_each_cube():
    kernels = [layer.kernel for layer in iz.models.s3d.separable(8, 3, 2).layers]
    strides = [layer.stride for layer in iz.models.s3d.separable(8, 3, 2).layers]
    assert (kernels, strides) == ([(1, 3, 3), (3, 1, 1)], [(1, 2, 2), (2, 1, 1)])


def test_weights_return_to_torchvision(reference, ours):
    state = iz.weights.exported_state_dict(ours, layout="torchvision")
    assert state.keys() == reference.state_dict().keys()
    assert all(value.equal(state[key]) for key, value in reference.state_dict().items())


def test_published_weights_are_torchvisions():
    row, preprocessing = iz.model_info("s3d").weights["tv_kinetics400"], PUBLISHED.transforms()
    assert row.url == PUBLISHED.url
    assert (list(row.data.mean), list(row.data.std)) == (preprocessing.mean, preprocessing.std)
    assert row.data.crop_pct == preprocessing.crop_size[0] / preprocessing.resize_size[0]
    assert row.num_classes == len(PUBLISHED.meta["categories"])
    assert row.note.startswith(f"{PUBLISHED.meta['_metrics']['Kinetics-400']['acc@1']}")
