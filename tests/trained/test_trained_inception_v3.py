"""A TensorFlow.js file of Inception v3, trained on five classes and quantised to 8 bits, beside Keras with the same values."""

import keras
import numpy
import pytest
import torch
from packages import NPM, read_tensorflow_js, write_keras_weights
from sklearn.datasets import load_sample_images
from whole_way import check_whole_way

import inceptionzoo as iz

pytestmark = [pytest.mark.trained, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]


@pytest.fixture(scope="module")
def tensors():
    return read_tensorflow_js(NPM / "dist" / "models" / "inception_v3")


@pytest.fixture(scope="module")
def theirs(tensors):
    """Keras's network; its layers of a kind are numbered in the order of the file's."""
    model = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(None, None, 3))
    for kind, prefix, names in (
        (keras.layers.Conv2D, "conv2d_", ("kernel",)),
        (keras.layers.BatchNormalization, "batch_normalization_", ("beta", "moving_mean", "moving_variance")),
    ):
        layers = [layer for layer in model.layers if isinstance(layer, kind)]
        layers.sort(key=lambda layer: int(layer.name.rpartition("_")[2]) if layer.name[-1].isdigit() else 0)
        for number, layer in enumerate(layers, 1):
            layer.set_weights([tensors[f"{prefix}{number}/{name}"] for name in names])
    return model


def test_the_base_agrees_with_keras(tensors, theirs, tmp_path):
    path = tmp_path / "weights.h5"
    write_keras_weights(path, tensors)
    assert sum(tensor.size for tensor in tensors.values()) == 22_360_869
    model = iz.create_model("inception_v3", weights=path, num_classes=0)
    assert model.arguments == {"include_pad": False}
    assert {name.partition(".")[0] for name in model.report.dropped} == {"dense_1", "dense_2", "dense_3"}
    photos = numpy.stack([image[:299, :400] for image in load_sample_images().images]).astype("float32") / 127.5 - 1
    x = torch.tensor(photos).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        expected = theirs(photos).permute(0, 3, 1, 2).cpu()
        plain = iz.create_model("inception_v3", weights=model.state_dict(), num_classes=0).eval()
        assert (plain.forward_features(x) - expected).abs().max() > 0.1 * expected.abs().max()  # it counts the padding
    check_whole_way(model, x, expected, path, tmp_path)
