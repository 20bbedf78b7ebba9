"""Inception-ResNet beside its paper's figures, timm's v2 and pytorchcv's v1."""

import copy

import pytest
import timm
import torch
from helpers import distance, fill, noise, one_thread, outputs, shape_text
from pytorchcv.models.inceptionresnetv1 import inceptionresnetv1
from torch import nn

import inceptionzoo as iz
from inceptionzoo.errors import ArgumentError
from inceptionzoo.models import inception_resnet, inception_v4
from inceptionzoo.models.inception_resnet import ENTRIES, inception_resnet_v1, inception_resnet_v2
from inceptionzoo.nn._build import build, build_network
from inceptionzoo.spec._cost import Shape, layer_cost
from inceptionzoo.spec._network_cost import network_cost, stage_costs

V1, V2 = ENTRIES
STEM = {
    "Conv2d_1a_3x3": "149x149x32",
    "Conv2d_2a_3x3": "147x147x32",
    "Conv2d_2b_3x3": "147x147x64",
    "MaxPool_3a_3x3": "73x73x64",
    "Conv2d_3b_1x1": "73x73x80",
    "Conv2d_4a_3x3": "71x71x192",
}


def grids(counts, channels):
    """Return the stages after the stem and their shapes at 299 px: Figure 15."""
    (on35, on17, on8), (wide35, wide17, wide8) = counts, channels
    return {
        **{f"block35_{index + 1}": f"35x35x{wide35}" for index in range(on35)},
        "Mixed_6a": f"17x17x{wide17}",
        **{f"block17_{index + 1}": f"17x17x{wide17}" for index in range(on17)},
        "Mixed_7a": f"8x8x{wide8}",
        **{f"block8_{index + 1}": f"8x8x{wide8}" for index in range(on8)},
    }


TRUNK1 = STEM | {"Conv2d_4b_3x3": "35x35x256"} | grids((5, 10, 6), (256, 896, 1792))
TRUNK2 = STEM | {"MaxPool_5a_3x3": "35x35x192", "Mixed_5b": "35x35x320"} | grids((10, 20, 10), (320, 1088, 2080))
ENDPOINTS2 = TRUNK2 | {"Conv2d_7b_1x1": "8x8x1536"}
# the references' modules that end where our stages do, in order
STAGES1 = (
    *("conv1", "conv2", "conv3", "pool", "conv4", "conv5", "conv6"),
    *(f"stage1.unit{index}" for index in range(1, 6)),
    *(f"stage2.unit{index}" for index in range(1, 12)),
    *(f"stage3.unit{index}" for index in range(1, 8)),
)
STAGES2 = (
    *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a", "mixed_5b"),
    *(f"repeat.{index}" for index in range(10)),
    *("mixed_6a", *(f"repeat_1.{index}" for index in range(20))),
    *("mixed_7a", *(f"repeat_2.{index}" for index in range(9)), "block8", "conv2d_7b"),
)


def empty(entry):
    with torch.device("meta"):
        return build_network(entry.network(), entry=entry, num_classes=1000)


def loaded(entry, state):
    model = empty(entry)
    return model.eval(), iz.load_weights(model, state)


def same(state, table, theirs):
    return set(table.values()) == set(theirs) and all(state[key].equal(theirs[name]) for key, name in table.items())


@pytest.mark.parametrize(("entry", "params"), [(V1, 23_995_624), (V2, 55_843_464)], ids=["v1", "v2"])
def test_parameters(entry, params):
    model = empty(entry)
    assert network_cost(model.network, Shape(3, 299, 299), 1000).params == params
    assert sum(parameter.numel() for parameter in model.parameters()) == params
    assert (model.min_input_size, model.head.drop.p) == (75, 0.2)


@pytest.mark.parametrize(
    ("network", "last", "after"),
    [
        (inception_resnet_v1(repeats=(5, 10, 5), last="plain", bottleneck=None), "block8_5", "8x8x1792"),
        (inception_resnet_v2(repeats=(5, 10, 5), last="plain", final=None), "block8_5", "8x8x2080"),
        (inception_resnet_v2(repeats=(5, 10, 5), last="plain", start="figure3", final=None), "block8_5", "8x8x2144"),
    ],
    ids=["v1", "v2", "v2, Figure 3"],
)
def test_the_papers_repeats(network, last, after):
    name, block, row = stage_costs(network, Shape(3, 299, 299))[-1]
    assert (name, str(row.shape), block.scale, block.act) == (last, after, 0.2, True)
    assert len(network.stages) == {"8x8x1792": 7, "8x8x2080": 8, "8x8x2144": 6}[after] + 5 + 1 + 10 + 1 + 5


def test_v2_of_the_paper_has_figure_3():
    network = inception_resnet_v2(start="figure3")
    assert dict(network.stages[:6]) == inception_v4.stem()
    shapes = {name: str(row.shape) for name, _, row in stage_costs(network, Shape(3, 299, 299))}
    assert [shapes[name] for name in ("Mixed_5a", "block35_1", "Mixed_6a", "Mixed_7a")] == [
        "35x35x384",
        "35x35x384",  # Figure 16's 384
        "17x17x1152",  # 384 + 384 + 384; Figure 17 prints 1154
        "8x8x2144",  # 1152 + 384 + 288 + 320; Figure 19 prints 2048
    ]


def test_scales_are_named():
    named = dict(inception_resnet_v1(scales=(0.3, 0.4, 0.5)).stages)
    blocks = [named[name] for name in ("block35_1", "block17_10", "block8_5", "block8_6")]
    assert [(block.scale, block.act) for block in blocks] == [(0.3, True), (0.4, True), (0.5, True), (1.0, False)]
    for make in (inception_resnet_v1, inception_resnet_v2):
        block = dict(make().stages)
        assert [block[name].scale for name in ("block35_1", "block17_1", "block8_1")] == [0.17, 0.10, 0.20]


def test_a_block_stands_alone():
    block = inception_resnet.inception_resnet_a(*inception_resnet.A["v2"], scale=0.0)
    x = noise(1, 384, 9, 7)
    assert str(layer_cost(block, Shape(384, 9, 7)).shape) == "9x7x384"  # the paper's width of it
    with torch.no_grad():
        assert build(block, 384).eval()(x).equal(x.relu())
        assert not build(inception_resnet.inception_resnet_a(*inception_resnet.A["v2"]), 384).eval()(x).equal(x.relu())


@pytest.mark.parametrize("wrong", [{"last": "none"}, {"repeats": (5, 10, 0)}, {"repeats": (5, 10, 5.0)}], ids=str)
def test_wrong_arguments_are_named(wrong):
    (name,) = wrong
    for make in (inception_resnet_v1, inception_resnet_v2):
        with pytest.raises(ArgumentError, match=f"{name}="):
            make(**wrong)


# --- v2 and timm --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def timms():
    with torch.device("meta"):
        model = timm.create_model("inception_resnet_v2")
    return fill(model, noise(4, 3, 128, 128))


@pytest.fixture(scope="module")
def v2(timms):
    model, report = loaded(V2, timms.state_dict())
    assert report.layout == "timm"
    return model


@pytest.mark.parametrize("size", [(299, 299), (171, 131)], ids=str)
@one_thread()
def test_v2_equals_timm_at_every_stage(timms, v2, size):
    x = noise(1, 3, *size)
    theirs = outputs({name: timms.get_submodule(name) for name in STAGES2} | {"logits": timms}, lambda: timms(x))
    seen = outputs(dict(v2.features.named_children()) | {"logits": v2}, lambda: v2(x))
    if size == (299, 299):
        shapes = {name: shape_text(value) for name, value in seen.items() if name != "logits"}
        assert shapes == ENDPOINTS2 == {name: str(row.shape) for name, _, row in stage_costs(v2.network, Shape(3, *size))}
    for (name, value), expected in zip(seen.items(), theirs.values(), strict=True):
        assert expected.std() > 1e-3, name
        assert value.equal(expected), name


def test_v2s_layout_is_a_bijection(timms, v2):
    state, theirs = v2.state_dict(), timms.state_dict()
    assert same(state, V2.layouts[0].table(state), theirs)


def test_v2s_data_is_timms(timms):
    config, data = timms.default_cfg, V2.data
    assert (*data.mean, *data.std) == (*config["mean"], *config["std"])
    ours = (data.input_size, data.interpolation, data.crop_pct)
    assert ours == (config["input_size"], config["interpolation"], config["crop_pct"])


# --- v1, pytorchcv and facenet-pytorch ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pytorchcvs():
    with torch.device("meta"):
        model = inceptionresnetv1()
    model = model.to_empty(device="cpu")
    head = model.output.bn
    torch.manual_seed(0)
    with torch.no_grad():
        head.weight.uniform_(0.5, 1.5), head.bias.uniform_(-0.2, 0.2)  # `fill` knows normalisation of maps alone
        head.running_mean.uniform_(-0.2, 0.2), head.running_var.uniform_(0.5, 1.5), head.num_batches_tracked.zero_()
        last = model.features.final_pool
        model.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its window of 8x8 needs images of 299 px
        fill(model, noise(4, 3, 128, 128))
        model.features.final_pool = last
    return model


@pytest.fixture(scope="module")
def v1(pytorchcvs):
    model, report = loaded(V1, pytorchcvs.state_dict())
    assert report.layout == "pytorchcv"
    return model


def trunk(model):
    """Return pytorchcv's modules by our stages' names."""
    features, start = model.features, model.features.init_block
    modules = [getattr(start, name) if "." not in name else features.get_submodule(name) for name in STAGES1]
    return dict(zip(TRUNK1, modules, strict=True))


@pytest.mark.parametrize("size", [(299, 299), (171, 131)], ids=str)
@one_thread()
def test_v1_equals_pytorchcv_at_every_stage(pytorchcvs, v1, size):
    x = noise(2, 3, *size)
    theirs = outputs(trunk(pytorchcvs), lambda: pytorchcvs.features[:-1](x))
    seen = outputs(dict(v1.features.named_children()), lambda: v1(x))
    if size == (299, 299):
        shapes = {name: shape_text(value) for name, value in seen.items()}
        assert shapes == TRUNK1 == {name: str(row.shape) for name, _, row in stage_costs(v1.network, Shape(3, *size))}
    assert len(theirs) == len(seen)
    for name, expected in theirs.items():
        assert expected.std() > 1e-3, name
        assert seen[name].equal(expected), name


@one_thread()
def test_v1_equals_pytorchcv(pytorchcvs, v1):
    """Its window of 8x8 averages in another order than a global mean: equal but for rounding."""
    x = noise(2, 3, 299, 299)
    with torch.no_grad():
        theirs = pytorchcvs(x)
        assert theirs.std(0).max() > 1e-3
        assert distance(v1(x), theirs) < 1e-6
        v1.head.hidden.bn1.eps, eps = 1e-2, v1.head.hidden.bn1.eps
        assert distance(v1(x), theirs) > 1e-4  # it sees an epsilon
        v1.head.hidden.bn1.eps = eps
        mean = v1.forward_features(x).mean((2, 3))
        assert distance(v1.head.fc(v1.head.hidden.bn1(v1.head.hidden.fc1(mean))), theirs) < 1e-6


@one_thread()
def test_v1_trains_as_pytorchcv(pytorchcvs, v1):
    """In training mode batch normalisation sees the pooled vectors, and dropout comes before the embedding."""
    theirs, ours, x = copy.deepcopy(pytorchcvs).train(), copy.deepcopy(v1).train(), noise(3, 3, 299, 299)
    rate = next(module for module in theirs.output.modules() if isinstance(module, nn.Dropout)).p
    ours.head.drop.p = rate
    results = []
    for model in (theirs, ours):
        torch.manual_seed(0)
        results.append(model(x).detach())
    assert distance(results[1], results[0]) < 1e-4
    assert distance(ours.head.hidden.bn1.running_var, theirs.output.bn.running_var) < 1e-5


def test_v1s_layout_is_a_bijection(pytorchcvs, v1):
    state, theirs = v1.state_dict(), pytorchcvs.state_dict()
    table = V1.layouts[0].table(state)
    assert same(state, table, theirs)


@pytest.mark.full
@one_thread()
def test_v1_equals_facenet_at_every_block():
    from facenet_pytorch import InceptionResnetV1  # installed by `make test-full` without its requirements

    theirs = fill(InceptionResnetV1(classify=True, num_classes=10, device="cpu"), noise(4, 3, 160, 160))
    with torch.device("meta"):
        model = build_network(V1.network(), entry=V1, num_classes=10)
    assert iz.load_weights(model, theirs.state_dict()).layout == "facenet-pytorch"
    assert sorted(V1.layouts[1].table(model.state_dict()).values()) == sorted(theirs.state_dict())
    parts = {"Mixed_6a": theirs.mixed_6a, "block17_10": theirs.repeat_2[9], "block8_6": theirs.block8}
    x = noise(2, 3, 160, 192)
    expected, seen = outputs(parts, lambda: theirs(x)), outputs(dict(model.eval().features.named_children()), lambda: model(x))
    for name, value in expected.items():
        assert value.std() > 1e-3, name
        assert seen[name].equal(value), name
    with torch.no_grad():
        assert model(x).equal(theirs(x))
        theirs.classify = False
        embedding = model.forward_head(model.forward_features(x), pre_logits=True)
        assert nn.functional.normalize(embedding).equal(theirs(x))


FACENET = {  # keys of facenet-pytorch 2.6.0, whose requirements hold torch below 2.3: written down, with our own
    "conv2d_1a.conv.weight": "Conv2d_1a_3x3.conv.weight",
    "conv2d_4b.bn.running_var": "Conv2d_4b_3x3.bn.running_var",
    "repeat_1.0.branch0.conv.weight": "block35_1.body.branch0.conv.weight",
    "repeat_1.4.branch2.2.bn.bias": "block35_5.body.branch2.2.bn.bias",
    "repeat_1.4.conv2d.bias": "block35_5.project.conv.bias",
    "mixed_6a.branch0.conv.weight": "Mixed_6a.branch0.conv.weight",
    "mixed_6a.branch1.2.conv.weight": "Mixed_6a.branch1.2.conv.weight",
    "repeat_2.9.branch1.2.conv.weight": "block17_10.body.branch1.2.conv.weight",
    "mixed_7a.branch2.2.bn.weight": "Mixed_7a.branch2.2.bn.weight",
    "repeat_3.4.conv2d.weight": "block8_5.project.conv.weight",
    "block8.branch1.1.conv.weight": "block8_6.body.branch1.1.conv.weight",
    "block8.conv2d.weight": "block8_6.project.conv.weight",
    "last_linear.weight": "head.hidden.fc1.weight",
    "last_bn.running_mean": "head.hidden.bn1.running_mean",
}


def test_facenets_layout(v1):
    state = v1.state_dict()
    layout = V1.layouts[1]
    table = layout.table(state)
    assert {layout.name, "logits.weight", "logits.bias"} <= {"facenet-pytorch", *table.values()}
    assert {theirs: table[ours if ours.startswith("head.") else f"features.{ours}"] for theirs, ours in FACENET.items()} == {
        theirs: theirs for theirs in FACENET
    }
    roots = {name.split(".")[0] for name in table.values()}
    stem = {"conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a", "conv2d_4b"}
    rest = {"repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8", "last_linear", "last_bn", "logits"}
    assert roots == stem | rest
    renamed = {table[key]: value for key, value in state.items()}
    again, report = loaded(V1, renamed)
    assert report.layout == "facenet-pytorch"
    assert all(value.equal(state[key]) for key, value in again.state_dict().items())
