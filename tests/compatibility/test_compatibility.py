"""What users of version 0.1 rely on: state-dict keys, names, import paths, and files that it saved."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import one_thread
from state_dicts import FILE, digest, forms
from torch.utils.data import DataLoader, TensorDataset

import inceptionzoo as iz

HERE = Path(__file__).parent
SAVED = HERE / "v0_1"  # written by version 0.1, once; never written again
EXPECTED = json.loads((SAVED / "expected.json").read_text())
DIGESTS = json.loads(FILE.read_text())
NAMES = [(module, name) for module, names in json.loads((HERE / "public_names.json").read_text()).items() for name in names]
IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)


@pytest.mark.parametrize("name", iz.list_models())
def test_state_dict_keys_and_shapes(name):
    assert {form: digest(model) for form, model in forms(name).items()} == {
        form: value for form, value in DIGESTS.items() if form.partition(",")[0] == name
    }


def test_a_renamed_key_changes_the_digest():
    model = iz.create_model("vgg11_bn_cifar", device="meta")
    before = digest(model)
    model.features.add_module("another", torch.nn.Conv2d(1, 1, 1))
    assert digest(model) != before


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_names(module, name):
    assert hasattr(importlib.import_module(module), name)


def network(*, width: int = 4) -> iz.Network:
    side = iz.Aux("stem", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2))
    return iz.network(stem=iz.Conv(width, 3), block=iz.inception(2, 2, 2, 2, 2, 2, five=(3, 3)), aux=(side,))


@pytest.fixture
def registered(register):
    register("saved_by_v0_1", network, num_classes=3, input_size=(3, 8, 8))


def assert_outputs(model: torch.nn.Module, expected: list[list[float]]) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(IMAGES), torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("registered")
def test_a_saved_model():
    model = iz.load_model(SAVED / "model.safetensors")
    assert (model.arguments, model.head.drop.p, model.class_names) == ({"width": 5}, 0.25, ("a", "b", "c"))
    assert_outputs(model, EXPECTED["model"])


@pytest.mark.usefixtures("registered")
def test_a_saved_fused_model():
    model = iz.load_model(SAVED / "fused.safetensors")
    assert model.fused
    assert_outputs(model, EXPECTED["fused"])


@pytest.mark.usefixtures("registered")
def test_a_saved_ensemble():
    ensemble = iz.Ensemble.load(SAVED / "ensemble.safetensors")
    assert ensemble.weights.tolist() == [0.25, 0.75]
    assert_outputs(ensemble, EXPECTED["ensemble"])


@one_thread()
@pytest.mark.usefixtures("registered")
def test_a_training_that_version_0_1_began_is_resumed(tmp_path):
    """Two epochs of three were trained by version 0.1; the third gives what it gave there without an interruption."""
    shutil.copytree(SAVED / "training", tmp_path / "run")
    torch.manual_seed(9)
    model = iz.create_model("saved_by_v0_1")
    generator = torch.Generator().manual_seed(5)
    data = TensorDataset(torch.randn(12, 3, 8, 8, generator=generator), torch.arange(12) % 3)
    train = DataLoader(data, 4, shuffle=True, generator=torch.Generator().manual_seed(3))
    asked = dict(epochs=3, lr=0.05, label_smoothing=0.1, ema=0.9, seed=7, device="cpu")
    history = iz.fit(model, train, DataLoader(data, 6), **asked, out=tmp_path / "run", resume=True)
    for row, expected in zip(history.epochs, EXPECTED["history"], strict=True):
        assert {key: value for key, value in row.items() if key != "seconds"} == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert_outputs(model, EXPECTED["training"])
