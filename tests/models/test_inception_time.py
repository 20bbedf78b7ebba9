"""InceptionTime beside its paper and sktime."""

import pytest
import torch
from helpers import distance, noise, one_thread, outputs, sktime_network
from torch import nn

import inceptionzoo as iz
from inceptionzoo.models.inception_time import module
from inceptionzoo.spec import layer_cost, leaves


def test_parameters_are_those_of_the_paper():
    assert iz.model_info("inception_time").params == 420_450
    tsai = iz.create_model("inception_time", kernels=(39, 19, 9), eps=1e-5, shortcut="norm")
    assert sum(parameter.numel() for parameter in tsai.parameters()) == 388_610


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # sktime's
@one_thread()
@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("length", [24, 151])
def test_equals_sktime_after_every_module(channels, length):
    theirs = sktime_network(channels, 5)
    ours = iz.create_model("inception_time", weights=theirs.state_dict()).eval()
    assert (ours.report.layout, ours.in_chans, ours.num_classes, ours.arguments) == ("sktime", channels, 5, {"eps": 1e-5})
    x = noise(2, channels, length)
    parts = {
        f"{3 * block + step - 3}": ours.features.get_submodule(f"block{block}.body.{step}")
        for block in (1, 2)
        for step in range(3)
    }
    mine = outputs(parts, lambda: ours(x))
    expected = outputs(dict(theirs.inception_modules.named_children()), lambda: theirs(x.transpose(1, 2)))
    assert list(mine) == list(expected)
    assert all(distance(mine[name], expected[name]) < 5e-6 for name in mine)
    assert distance(ours(x), theirs(x.transpose(1, 2))) < 5e-6


def test_weights_return_to_sktime():
    theirs = sktime_network(2, 3)
    ours = iz.create_model("inception_time", weights=theirs.state_dict())
    state = iz.weights.exported_state_dict(ours, layout="sktime")
    assert state.keys() == theirs.state_dict().keys()
    assert all(value.equal(state[key]) for key, value in theirs.state_dict().items())


def test_weights_of_sktime_need_its_epsilon():
    with pytest.raises(iz.MismatchError, match=r"create_model\('inception_time', eps=1e-05\) fits"):
        iz.load_weights(iz.create_model("inception_time"), sktime_network(1, 2).state_dict())


def test_names_of_tsai():
    model = iz.create_model("inception_time", in_chans=2, kernels=(39, 19, 9), eps=1e-5, shortcut="norm")
    names = set(iz.weights.exported_state_dict(model, layout="tsai"))
    assert {
        "inceptionblock.inception.0.bottleneck.weight",
        "inceptionblock.inception.5.convs.2.weight",
        "inceptionblock.inception.3.maxconvpool.1.weight",
        "inceptionblock.inception.1.bn.running_var",
        "inceptionblock.shortcut.0.0.weight",
        "inceptionblock.shortcut.0.1.bias",
        "inceptionblock.shortcut.1.weight",
        "fc.bias",
    } <= names
    assert len(names) == len(model.state_dict())


def test_the_bottleneck_is_left_out_for_one_channel():
    layer, style = module(), iz.Style(spatial_dims=1)
    one, two = (layer_cost(layer, iz.Shape(channels, 50), style) for channels in (1, 2))
    assert (one.shape, two.shape) == ((128, 50), (128, 50))
    assert two.weights - one.weights == 2 * 32 + 31 * 32 * 70 + 32
    kinds = [type(iz.build(layer, channels, spatial_dims=1)[0]["convs"][0]) for channels in (1, 2)]
    assert kinds[0] is nn.Identity
    assert kinds[1] is not nn.Identity
    with pytest.raises(iz.SpecError, match=r"may be left out \(min_channels above 1\) needs stride=1"):
        iz.Conv(8, stride=2, min_channels=2)


@pytest.mark.parametrize(("depth", "stages"), [(2, ["module1", "module2"]), (7, ["block1", "block2", "module7"])])
def test_depth(depth, stages):
    network = iz.models.inception_time.inception_time(depth=depth, kernels=(8, 4))
    assert [name for name, _ in network.stages] == stages
    assert {leaf.kernel for _, layer in network.stages for leaf in leaves(layer) if isinstance(leaf, iz.Conv)} == {8, 4, 1}
    assert iz.build(network, in_channels=3)(noise(2, 3, 30)).shape == (2, 1000)


def test_invalid_arguments():
    for wrong in ({"depth": 0}, {"shortcut": "bn"}, {"kernels": (40, 0)}, {"eps": 0}):
        with pytest.raises(iz.ZooError):
            iz.create_model("inception_time", **wrong)


def test_signals_have_no_preprocessing():
    model = iz.create_model("inception_time", in_chans=3)
    assert (model.data.mean, model.data.std, model.data.input_size) == ((0.0,) * 3, (1.0,) * 3, (3, 128))
