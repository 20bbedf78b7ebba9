"""`inceptionzoo evaluate`."""

import json
import math
import warnings
from pathlib import Path

import numpy
import pytest
from helpers import fill, tiny_network
from images import write_images
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import inceptionzoo as iz

FIGURES = "loss", "accuracy", "auc", "balanced_accuracy", "calibration_error"


@pytest.fixture
def model(tiny, tmp_path, monkeypatch):
    """A model saved with class names that are not in the order of the alphabet, beside images/{cat,dog,owl}."""
    monkeypatch.chdir(tmp_path)
    write_images(Path("images"), {"cat": 3, "dog": 2, "owl": 2})
    tiny.set_class_names(["owl", "cat", "dog"])
    iz.save_weights(tiny, "tiny.safetensors")
    return tiny


def test_evaluate(cli, model):
    code, out, err = cli("evaluate", "tiny.safetensors", "images", "--json", "--batch", "4")
    assert (code, err) == (0, "")
    values = json.loads(out)
    folder = ImageFolder("images", iz.transforms(model), loader=iz.open_image)
    expected = iz.evaluate(model, DataLoader(folder, 4))
    for name in FIGURES:
        assert values[name] == pytest.approx(getattr(expected, name), abs=1e-6)
    assert (values["images"], values["unreadable"], values["class_names"]) == (7, [], ["owl", "cat", "dog"])
    assert values["confusion"] == expected.confusion.tolist()
    assert sum(values["confusion"][1]) == 3  # cats
    text = cli("evaluate", "tiny.safetensors", "images", "--fuse")[1].splitlines()
    assert text[:3] == ["images: 7", f"loss: {expected.loss:.4g}", f"accuracy: {expected.accuracy:.4g}"]
    assert text[-4].split() == ["truth", "\\", "prediction", "owl", "cat", "dog"]
    assert text[-2].split() == ["cat", *map(str, values["confusion"][1])]


def test_folders_that_are_not_those_of_the_classes(cli, model):
    for part in ("train", "val"):
        write_images(Path("pets") / part, {"cat": 1, "dog": 1, "owl": 1})
    for part in ("Training", "Testing"):
        write_images(Path("others") / part, {"cat": 1, "dog": 1, "owl": 1})
    for folder, text in (
        ("pets", "pets has the folders train/ and val/; give one of them, for example pets/val"),
        ("others", "others has the folders Testing/ and Training/; give one of them, for example others/Testing"),
        (
            "pets/val/cat",
            "pets/val/cat has no folder for each class; if it holds the images of one class, give the folder above",
        ),
    ):
        code, out, err = cli("evaluate", "tiny.safetensors", folder)
        assert (code, out, text in err) == (1, "", True), err


def test_the_pixels_are_those_of_predict(cli, register, tmp_path, monkeypatch):
    """A model of four channels sees the alpha channel."""
    monkeypatch.chdir(tmp_path)
    register("tiny4", tiny_network, num_classes=3, input_size=(4, 8, 8))
    iz.save_weights(fill(iz.create_model("tiny4")), "four.safetensors", class_names=["cat", "dog", "owl"])
    generator = numpy.random.default_rng(0)
    for name in ("cat", "dog", "owl"):
        Path("alpha", name).mkdir(parents=True)
        Image.fromarray(generator.integers(0, 256, (8, 8, 4), dtype=numpy.uint8)).save(f"alpha/{name}/0.png")
    answers = iz.predict(iz.load_model("four.safetensors"), "alpha")
    losses = [-math.log(dict(answer)[Path(path).parent.name]) for path, answer in answers.items()]
    values = json.loads(cli("evaluate", "four.safetensors", "alpha", "--json")[1])
    assert values["loss"] == pytest.approx(sum(losses) / 3, rel=1e-4)


def test_plots(cli, model):
    names = ["calibration.png", "confusion.png", "precision_recall.png", "roc.png"]
    assert cli("evaluate", "tiny.safetensors", "images", "--plots", "new/plots")[0] == 0
    assert sorted(path.name for path in Path("new/plots").iterdir()) == names


def test_one_class_has_no_curve(cli, model):
    write_images(Path("cats"), {"cat": 2})
    code, out, _ = cli("evaluate", "tiny.safetensors", "cats", "--plots", "plots")
    assert (code, "auc: undefined: only one class has images" in out) == (0, True)
    assert sorted(path.name for path in Path("plots").iterdir()) == ["calibration.png", "confusion.png"]
    assert json.loads(cli("evaluate", "tiny.safetensors", "cats", "--json")[1])["auc"] is None


def test_unreadable_images(cli, model):
    for name in ("0", "1", "2"):  # a whole batch
        Path(f"images/cat/{name}.png").write_bytes(b"no image")
    code, out, err = cli("evaluate", "tiny.safetensors", "images", "--json", "--batch", "3")
    values = json.loads(out)
    assert (code, values["images"], len(values["unreadable"])) == (3, 4, 3)
    assert "3 of 7 images could not be read and were left out" in err


def test_what_cannot_be_evaluated(cli, model):
    write_images(Path("others"), {"cat": 1, "fox": 1})
    code, out, err = cli("evaluate", "tiny.safetensors", "others")
    assert (code, out, "fox" in err) == (1, "", True)
    model.task = "multilabel"
    iz.save_weights(model, "labels.safetensors")
    code, out, err = cli("evaluate", "labels.safetensors", "images")
    assert (code, out, "labels.safetensors is a model for multilabel" in err) == (1, "", True)


def test_a_warning_is_printed_without_a_line_of_code(cli, model):
    Path("images/cat/9.heic").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = cli("evaluate", "tiny.safetensors", "images")
    assert (code, len(err.splitlines())) == (0, 1)
    assert err.startswith("inceptionzoo: warning: folder 'images': 1 files such as 'images/cat/9.heic' are left out")
