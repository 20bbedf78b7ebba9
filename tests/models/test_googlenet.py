"""GoogLeNet beside its paper's Table 1, torchvision, the Caffe2 graph of the onnx package and pytorch-cifar's network."""

import functools
from pathlib import Path

import numpy
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from helpers import Block, distance, fill, noise, one_thread, outputs, shape_text
from torch import nn

import inceptionzoo as iz
from inceptionzoo.spec._network_cost import stage_costs

ROWS = {  # #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; channels; kernel weights; millions of multiply-adds
    "3a": ((64, 96, 128, 16, 32, 32), 256, 163_328, 128.0),
    "3b": ((128, 128, 192, 32, 96, 64), 480, 388_096, 304.3),
    "4a": ((192, 96, 208, 16, 48, 64), 512, 375_552, 73.6),
    "4b": ((160, 112, 224, 24, 64, 64), 512, 448_512, 87.9),
    "4c": ((128, 128, 256, 24, 64, 64), 512, 509_440, 99.9),
    "4d": ((112, 144, 288, 32, 64, 64), 528, 604_672, 118.5),
    "4e": ((256, 160, 320, 32, 128, 128), 832, 867_328, 170.0),
    "5a": ((256, 160, 320, 32, 128, 128), 832, 1_042_432, 51.1),
    "5b": ((384, 192, 384, 48, 128, 128), 1024, 1_442_816, 70.7),
}
TABLE1 = {  # kernel weights, millions of multiply-adds, depth
    "conv1": (9_408, 118.0, 1),
    "conv2": (114_688, 359.7, 2),
    **{f"inception{row}": (weights, macs, 2) for row, (_, _, weights, macs) in ROWS.items()},
    "head": (1_024_000, 1.0, 1),
}
# parameters without auxiliary heads and with them
PARAMS = {
    "googlenet": (6_624_904, 13_004_888),
    "googlenet_5x5": (6_624_904 + 16 * sum(row[3] * row[4] for row, *_ in ROWS.values()), None),
    "googlenet_paper": (6_998_552, 13_378_280),
    "googlenet_cifar": (6_166_250, None),
}
CHANNELS = dict(conv1=64, pool1=64, norm1=64, conv2=192, norm2=192, pool2=192, pool3=480, pool4=832) | {
    f"inception{row}": channels for row, (_, channels, _, _) in ROWS.items()
}
STEM, BLOCKS = "conv1 pool1 conv2 pool2", "3a 3b pool3 4a 4b 4c 4d 4e pool4 5a 5b"
STEM_2014 = "conv1 pool1 norm1 conv2 norm2 pool2"
# model, own arguments, side of the image, stages of the stem, sides of the stages' maps
ENDPOINTS = (
    ("googlenet", {}, 224, STEM, "112 56 56 28  28 28 14 14 14 14 14 14 7 7 7"),
    ("googlenet_paper", {}, 224, STEM_2014, "112 56 56 56 56 28  28 28 14 14 14 14 14 14 7 7 7"),
    ("googlenet_paper", {"pools": "valid"}, 224, STEM_2014, "112 55 55 55 55 27  27 27 13 13 13 13 13 13 6 6 6"),
    ("googlenet_cifar", {}, 32, "conv1", "32  32 32 16 16 16 16 16 16 8 8 8"),
)
# the names of the Caffe2 graph, by parts of our keys
CAFFE = {
    ".weight": "_w_0", ".bias": "_b_0", ".conv_": "_", "head.fc": "loss3/classifier", "features.inception": "inception_",
    "features.conv1": "conv1/7x7_s2", "features.conv2.0": "conv2/3x3_reduce", "features.conv2.1": "conv2/3x3",
    ".branch1": "/1x1", ".branch2.0": "/3x3_reduce", ".branch2.1": "/3x3", ".branch3.0": "/5x5_reduce", ".branch3.1": "/5x5",
    ".branch4.1": "/pool_proj",
}  # fmt: skip
# torchvision's children and the stages of ours that end at the same place
TORCHVISION = dict(conv1="conv1", maxpool1="pool1", conv3="conv2", maxpool2="pool2", maxpool3="pool3", maxpool4="pool4") | {
    f"inception{row}": f"inception{row}" for row in ROWS
}


@pytest.fixture(autouse=True, scope="module")
def the_same_bits():
    with one_thread():
        yield


@pytest.mark.parametrize("name", PARAMS)
def test_parameters(name):
    plain, with_aux = PARAMS[name]
    model = iz.create_model(name, device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == iz.model_info(name).params == plain
    if with_aux:
        assert sum(parameter.numel() for parameter in iz.with_aux(model).parameters()) == with_aux


@pytest.mark.parametrize(("name", "own", "side", "stem", "sides"), ENDPOINTS, ids=str)
def test_endpoints(name, own, side, stem, sides):
    model = iz.create_model(name, num_classes=3, **own).eval()
    channels = CHANNELS | ({"conv1": 192} if side == 32 else {})
    stages = (f"inception{stage}" if stage in ROWS else stage for stage in f"{stem} {BLOCKS}".split())
    expected = {stage: f"{n}x{n}x{channels[stage]}" for stage, n in zip(stages, sides.split(), strict=True)}
    seen = outputs(dict(model.features.named_children()), lambda: model(noise(1, 3, side, side)))
    assert {stage: shape_text(x) for stage, x in seen.items()} == expected
    assert {stage: str(row.shape) for stage, _, row in stage_costs(model.network, iz.Shape(3, side, side))} == expected


def test_summary_is_table_1(capsys):
    table = iz.summary("googlenet_paper")
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.split()}
    rows = {row.name: row for row in table.rows if row.cost.depth}
    assert list(rows) == list(TABLE1)
    for name, (weights, macs, depth) in TABLE1.items():
        cost = rows[name].cost
        assert (cost.weights, round(cost.macs / 1e6, 1), cost.depth) == (weights, macs, depth), name
        assert {f"{weights:,}", f"{macs:.1f}M", str(depth), str(cost.shape)} <= set(lines[name]), name
    assert table.total.cost.depth == 22
    assert {"22", "6,998,552"} <= set(lines["total"])
    for row, ((n1, r3, n3, r5, n5, proj), *_) in ROWS.items():
        assert rows[f"inception{row}"].branches == f"{n1} | {r3} > {n3} | {r5} > {n5} | max > {proj}"


@pytest.fixture(scope="module")
def reference():
    with torch.device("meta"):
        model = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False)
    return fill(model, noise(4, 3, 96, 96))


@pytest.mark.parametrize("size", [(224, 224), (171, 131)], ids=str)
def test_equals_torchvision_at_every_stage(reference, size):
    model = iz.create_model("googlenet", weights=reference.state_dict()).eval()
    assert model.report.layout == "torchvision"
    aux = {key for key in reference.state_dict() if key.startswith("aux")}
    assert set(model.report.dropped) == aux != set()
    x = noise(2, 3, *size)
    theirs = outputs({name: getattr(reference, name) for name in (*TORCHVISION, "fc")}, lambda: reference(x))
    ours = outputs(dict(model.features.named_children()) | {"fc": model}, lambda: model(x))
    assert len(ours) == len(theirs)
    for name, expected in theirs.items():
        assert expected.std() > 1e-3, name
        assert ours[TORCHVISION.get(name, name)].equal(expected), name


def test_equals_torchvision_in_training(reference):
    model = iz.with_aux(iz.create_model("googlenet"))
    assert iz.load_weights(model, reference.state_dict()).dropped == []
    x = noise(3, 3, 97, 75)
    with torch.no_grad():
        torch.manual_seed(7)  # dropout draws the same where it stands in the same places
        logits, taps = model.train().forward_aux(x)
        torch.manual_seed(7)
        expected = reference.train()(x)
        reference.eval()
    assert logits.equal(expected.logits)
    assert taps["inception4a"].equal(expected.aux_logits1)
    assert taps["inception4d"].equal(expected.aux_logits2)
    assert not expected.aux_logits1.equal(expected.aux_logits2)


def test_the_heads_of_2014():
    model = iz.with_aux(iz.create_model("googlenet_paper", num_classes=3))
    heads = [(name, head.weight, head.head.drop.p) for name, head in model.aux.items()]
    assert heads == [("inception4a", 0.3, 0.7), ("inception4d", 0.3, 0.7)]
    assert (model.head.drop.p, iz.create_model("googlenet").head.drop.p) == (0.4, 0.2)
    x = noise(1, 512, 14, 14)
    average, conv = model.aux["inception4a"].layers
    assert average(x).equal(nn.functional.avg_pool2d(x, 5, 3))
    assert conv(average(x)).shape == (1, 128, 4, 4)


def light_graph() -> tuple[bytes, dict[str, torch.Tensor]]:
    """Return the onnx package's Inception v1 with logits for output and random weights for its constants; and those weights."""
    model = onnx.load(Path(onnx.__file__).parent / "backend/test/data/light/light_inception_v1.onnx")
    nodes, random = model.graph.node, numpy.random.default_rng(0)
    given = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shapes = {node.output[0]: tuple(given[node.input[0]]) for node in nodes if node.op_type == "ConstantOfShape"}
    shapes |= {name: value.shape for name, value in given.items() if name.endswith("_b_0")}
    weights = {}
    for name, shape in sorted(shapes.items()):
        fan_in = shape[3] if shape[0] == 1 else numpy.prod(shape[1:])  # the classifier is (1, 1, 1000, 1024)
        scale = 0.1 if name.endswith("_b_0") else (2 / fan_in) ** 0.5
        weights[name] = (scale * random.standard_normal(shape)).astype(numpy.float32)
    kept = [node for node in nodes if node.op_type not in ("ConstantOfShape", "Softmax")]
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    tensors += [tensor for tensor in model.graph.initializer if tensor.name.startswith("OC2")]
    images = [value for value in model.graph.input if value.name == "data_0"]
    logits = [onnx.helper.make_tensor_value_info(kept[-1].output[0], onnx.TensorProto.FLOAT, (1, 1000))]
    graph = onnx.helper.make_graph(kept, "light", images, logits, tensors)
    model = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return model.SerializeToString(), {name: torch.from_numpy(value) for name, value in weights.items()}


def caffe_name(key: str) -> str:
    """Return the graph's name of one of our keys."""
    return functools.reduce(lambda name, part: name.replace(*part), CAFFE.items(), key)


def test_equals_the_graph_of_2014():
    graph, weights = light_graph()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    model = iz.create_model("googlenet_paper", pools="valid").eval()
    state = model.state_dict()
    assert {caffe_name(key) for key in state} == set(weights)
    iz.load_weights(model, {key: weights[caffe_name(key)].reshape(value.shape) for key, value in state.items()})
    grains = [noise(1, 3, 9, 9, seed=seed) for seed in (1, 2)]
    images = [100 * nn.functional.interpolate(grain, (224, 224)) for grain in grains]  # so large that LRN bites
    theirs = [torch.from_numpy(session.run(None, {"data_0": x.numpy()})[0]) for x in images]
    with torch.no_grad():
        assert max(distance(model(x), y) for x, y in zip(images, theirs, strict=True)) <= 1e-4
    assert distance(theirs[0], theirs[1]) > 0.02  # the images tell


class Cifar(nn.Module):
    """pytorch-cifar's network, as the project that this library grew from used it."""

    def __init__(self):
        super().__init__()
        self.pre_layers = nn.Sequential(nn.Conv2d(3, 192, 3, padding=1), nn.BatchNorm2d(192), nn.ReLU(True))
        into = 192
        for row, (widths, channels, _, _) in ROWS.items():
            setattr(self, row[::-1], Block(into, widths))
            into = channels
        self.pool, self.linear = nn.MaxPool2d(3, stride=2, padding=1), nn.Linear(1024, 10)

    def forward(self, x):
        x = self.pool(self.b3(self.a3(self.pre_layers(x))))
        x = self.pool(self.e4(self.d4(self.c4(self.b4(self.a4(x))))))
        return self.linear(nn.functional.avg_pool2d(self.b5(self.a5(x)), 8).flatten(1))


def test_equals_pytorch_cifar():
    reference = fill(Cifar(), noise(8, 3, 32, 32))
    state, x = reference.state_dict(), noise(4, 3, 32, 32, seed=5)
    wrapped = {"net": {f"module.{key}": value for key, value in state.items()}, "acc": 79.0, "epoch": 3}
    theirs = outputs({row: getattr(reference, row[::-1]) for row in ROWS} | {"logits": reference}, lambda: reference(x))
    assert theirs["logits"].std(0).min() > 1e-3
    for source in (state, wrapped):
        model = iz.create_model("googlenet_cifar").eval()
        assert iz.load_weights(model, source).layout == "pytorch-cifar"
        ours = outputs(dict(model.features.named_children()) | {"logits": model}, lambda model=model: model(x))
        for row in ROWS:
            assert ours[f"inception{row}"].equal(theirs[row]), row
        assert distance(ours["logits"], theirs["logits"]) < 1e-6  # its 8x8 average adds in another order than a global one
    with torch.no_grad():
        for size in ((33, 33), (48, 31), (224, 224)):
            assert model(noise(1, 3, *size)).isfinite().all()


def test_cifar_takes_other_channels_and_no_classes():
    assert iz.create_model("googlenet_cifar", in_chans=1, num_classes=2).eval()(noise(1, 1, 33, 48)).shape == (1, 2)
    assert iz.create_model("googlenet_cifar", num_classes=0).eval()(noise(1, 3, 32, 32)).shape == (1, 1024)


@pytest.mark.parametrize("name", ["n1", "r3", "n3", "r5", "n5", "proj"])
def test_a_wrong_width_is_named(name):
    widths = dict.fromkeys(("n1", "r3", "n3", "r5", "n5", "proj"), 4)
    with pytest.raises(iz.ArgumentError, match=f"{name}=0 must be an int from 1 to"):
        iz.inception(**{**widths, name: 0})
