"""BN-Inception beside Cadene's and pytorchcv's ports of the Caffe model, and the Caffe2 graph of the onnx package."""

import functools
import warnings
from pathlib import Path

import numpy
import onnx
import onnxruntime
import pytest
import torch
from helpers import distance, fill, noise, one_thread, outputs, shape_text
from pytorchcv.models.bninception import bninception as pytorchcv_bninception
from torch import nn

import inceptionzoo as iz
from inceptionzoo.models.bn_inception import CADENE, ENTRIES, PYTORCHCV, bn_inception
from inceptionzoo.nn._build import build_network
from inceptionzoo.spec._cost import Shape
from inceptionzoo.spec._network_cost import network_cost, stage_costs
from inceptionzoo.spec._variants import apply_variants

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SyntaxWarning)  # of its dpn.py, where Python compiles it for the first time
    from pretrainedmodels.models.bninception import bninception as cadene_bninception

ENTRY, SLIM = ENTRIES
ENDPOINTS = {  # at 224 px, Cadene's widths
    "conv1": "112x112x64",
    "pool1": "56x56x64",
    "conv2": "56x56x192",
    "pool2": "28x28x192",
    "inception3a": "28x28x256",
    "inception3b": "28x28x320",
    "inception3c": "14x14x576",
    "inception4a": "14x14x576",
    "inception4b": "14x14x576",
    "inception4c": "14x14x608",
    "inception4d": "14x14x608",
    "inception4e": "7x7x1056",
    "inception5a": "7x7x1024",
    "inception5b": "7x7x1024",
}
NARROW = {"inception4c": "14x14x576", "inception4d": "14x14x576", "inception4e": "7x7x1024"}  # the onnx package's
# the names of the Caffe2 graph, by parts of our keys
CAFFE = {
    "features.inception": "inception_", "features.conv1": "conv1/7x7_s2", "features.conv2.0": "conv2/3x3_reduce",
    "features.conv2.1": "conv2/3x3", ".branch1": "/1x1", ".branch2.0": "/3x3_reduce", ".branch2.1": "/3x3",
    ".branch3.0": "/double3x3_reduce", ".branch3.1": "/double3x3a", ".branch3.2": "/double3x3b", ".branch4.1": "/pool_proj",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def the_same_bits():
    with one_thread():
        yield


def make(network, state=None, layout=None):
    with torch.device("meta"):
        model = build_network(network, entry=ENTRY, num_classes=1000)
    if state is not None:
        assert iz.load_weights(model, state).layout == layout
    return model.eval()


@pytest.fixture(scope="module")
def cadene():
    with torch.device("meta"):
        model = cadene_bninception(pretrained=None)
    return fill(model, noise(4, 3, 224, 224))


@pytest.fixture(scope="module")
def pytorchcv():
    with torch.device("meta"):
        model = pytorchcv_bninception()
    return fill(model, noise(4, 3, 224, 224), seed=1)


@pytest.mark.parametrize(("widths", "params"), [("cadene", 11_295_240), ("onnx", 11_204_936)])
def test_parameters_and_endpoints(widths, params):
    network = bn_inception(widths=widths)
    expected = ENDPOINTS | (NARROW if widths == "onnx" else {})
    assert {name: str(row.shape) for name, _, row in stage_costs(network, Shape(3, 224, 224))} == expected
    model = make(network)
    assert sum(parameter.numel() for parameter in model.parameters()) == params
    assert network_cost(network, Shape(3, 224, 224), 1000).params == params
    assert model.head.drop.p == 0.0
    model = build_network(network, num_classes=3).eval()
    seen = outputs(dict(model.features.named_children()), lambda: model(noise(1, 3, 224, 224)))
    assert {name: shape_text(value) for name, value in seen.items()} == expected


@pytest.mark.parametrize("size", [(224, 224), (131, 99)], ids=str)
def test_equals_cadene_at_every_convolution(cadene, size):
    model, x = make(bn_inception(), cadene.state_dict(), "cadene"), noise(2, 3, *size)
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    theirs = {name: cadene.get_submodule(CADENE.theirs(f"{name}.").removesuffix(".")) for name in norms}
    expected = outputs(theirs, lambda: cadene.features(x))
    seen = outputs(norms, lambda: model(x))
    assert len(seen) == len(expected) == 69
    for name, value in expected.items():
        assert value.std() > 1e-3, name
        assert seen[name].equal(value), name
    with torch.no_grad():
        features = cadene.features(x)
        assert model.forward_features(x).equal(features)
        if size == (224, 224):  # its 7x7 average adds in another order than a global one
            assert distance(model(x), cadene(x)) < 1e-6


@pytest.mark.parametrize("size", [(224, 224), (131, 99)], ids=str)
def test_equals_pytorchcv_at_every_block(pytorchcv, size):
    model, x = make(bn_inception(), pytorchcv.state_dict(), "pytorchcv"), noise(2, 3, *size)
    parts = pytorchcv.features
    blocks = [parts.init_block, *parts.stage1, *parts.stage2, *parts.stage3]
    names = ["pool2", *(name for name in ENDPOINTS if name.startswith("inception"))]
    expected = outputs(dict(zip(names, blocks, strict=True)), lambda: nn.Sequential(*blocks)(x))
    seen = outputs(dict(model.features.named_children()), lambda: model(x))
    for name, value in expected.items():
        assert value.std() > 1e-3, name
        assert seen[name].equal(value), name
    if size == (224, 224):
        with torch.no_grad():
            assert distance(model(x), pytorchcv(x)) < 1e-6


def test_layouts_are_bijections_in_the_order_of_their_packages(cadene, pytorchcv):
    state = make(bn_inception()).state_dict()
    assert list(CADENE.table(state).values()) == list(cadene.state_dict())
    assert list(PYTORCHCV.table(state).values()) == list(pytorchcv.state_dict())


def light_graph() -> tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]:
    """Return the onnx package's Inception v2 with logits for output and no weights; and the shapes of those."""
    model = onnx.load(Path(onnx.__file__).parent / "backend/test/data/light/light_inception_v2.onnx")
    given = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = model.graph.node
    shapes = {node.output[0]: tuple(given[node.input[0]]) for node in nodes if node.op_type == "ConstantOfShape"}
    used = {name for node in nodes if node.op_type != "ConstantOfShape" for name in node.input}
    shapes |= {name: value.shape for name, value in given.items() if name in used and not name.startswith("OC2")}
    kept = [node for node in nodes if node.op_type not in ("ConstantOfShape", "Softmax")]
    tensors = [tensor for tensor in model.graph.initializer if tensor.name.startswith("OC2")]
    images = [value for value in model.graph.input if value.name == "data_0"]
    logits = [onnx.helper.make_tensor_value_info(kept[-1].output[0], onnx.TensorProto.FLOAT, (1, 1000))]
    graph = onnx.helper.make_graph(kept, "light", images, logits, tensors)
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), shapes


def caffe_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return our weights by the graph's names: no biases there, and a scale and shift after a plain normalisation."""
    weights = {"loss3/classifier_w_0": model.head.fc.weight, "loss3/classifier_b_0": model.head.fc.bias}
    for key, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            name = functools.reduce(lambda name, part: name.replace(*part), CAFFE.items(), key.removesuffix(".bn"))
            conv = model.get_submodule(key.removesuffix(".bn") + ".conv")
            weights |= {
                f"{name}_w_0": conv.weight,
                f"{name}/bn_scale_0": torch.ones_like(module.weight),
                f"{name}/bn_bias_0": torch.zeros_like(module.bias),
                f"{name}/bn_mean_0": module.running_mean - conv.bias,
                f"{name}/bn_var_0": module.running_var,
                f"{name}/bn/sc_w_0": module.weight,
                f"{name}/bn/sc_b_0": module.bias,
            }
    return {name: value.detach() for name, value in weights.items()}


def test_equals_the_graph_of_caffe2():
    model = fill(make(apply_variants(bn_inception(widths="onnx"), include_pad=False)), noise(4, 3, 224, 224))
    graph, shapes = light_graph()
    weights = caffe_weights(model)
    assert {name: tuple(value.shape) for name, value in weights.items()} == shapes
    graph.graph.initializer.extend(onnx.numpy_helper.from_array(value.numpy(), name) for name, value in weights.items())
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    images = [noise(1, 3, 224, 224, seed=seed) for seed in (1, 2)]
    theirs = [torch.from_numpy(numpy.asarray(session.run(None, {"data_0": x.numpy()})[0])) for x in images]
    with torch.no_grad():
        assert max(distance(model(x), y) for x, y in zip(images, theirs, strict=True)) <= 1e-4
    assert distance(theirs[0], theirs[1]) > 0.02  # the images tell


def test_inception_v2_is_slims():
    """Its numbers; tests/models/test_tf_slim.py runs slim itself."""
    network = SLIM.network()
    whole = network_cost(network, Shape(3, 224, 224), 1000)
    assert (whole.params, whole.params - 1_025_000) == (11_188_224, 10_163_224)  # with the classifier and without
    assert {name: str(row.shape) for name, _, row in stage_costs(network, Shape(3, 224, 224))} == ENDPOINTS | NARROW
    stem, *_ = network.stages
    assert [type(layer).__name__ for layer in stem[1].layers] == ["Depthwise", "Conv"]
    assert (stem[1].layers[1].bias, stem[1].layers[1].norm) == (True, False)
    model = fill(build_network(network, num_classes=3), noise(2, 3, 64, 64))
    padded = build_network(apply_variants(network, padding="same", include_pad=False), num_classes=3).eval()
    padded.load_state_dict(model.state_dict())
    assert model(noise(1, 3, 64, 96)).equal(padded(noise(1, 3, 64, 96)))


def test_refuses_other_widths():
    with pytest.raises(iz.ArgumentError, match="widths='caffe' must be one of 'cadene', 'onnx'"):
        bn_inception(widths="caffe")


@torch.no_grad()
def test_takes_sizes_at_which_the_branches_of_caffe_disagree(cadene):
    model = build_network(bn_inception(), num_classes=2).eval()
    assert model.min_input_size == 7
    x = noise(1, 3, 171, 299)  # 3c gets a map of 21x37 pixels
    shapes = {
        name: shape_text(value) for name, value in outputs(dict(model.features.named_children()), lambda: model(x)).items()
    }
    assert (shapes["inception3b"], shapes["inception3c"], shapes["inception4e"]) == ("21x37x320", "11x19x576", "6x10x1056")
    assert shapes == {name: str(row.shape) for name, _, row in stage_costs(model.network, Shape(3, 171, 299))}
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        cadene(x)
