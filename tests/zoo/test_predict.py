"""predict and transforms."""

import numpy as np
import pytest
import torch
from PIL import Image

import inceptionzoo as iz


@pytest.fixture(scope="module")
def model() -> iz.Net:
    torch.manual_seed(0)
    model = iz.create_model("googlenet", num_classes=3).train()
    model.set_input_size(48)
    model.set_class_names(["a", "b", "c"])
    return model


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_a_path_an_image_and_a_tensor_give_the_same_answer(model, picture):
    answers = iz.predict(model, picture)
    assert model.training
    assert sorted(name for name, _ in answers) == ["a", "b", "c"]
    assert [p for _, p in answers] == sorted((p for _, p in answers), reverse=True)
    assert sum(p for _, p in answers) == pytest.approx(1, abs=1e-6)
    with Image.open(picture) as opened:
        assert iz.predict(model, opened) == iz.predict(model, str(picture)) == answers
        prepared = iz.transforms(model)(opened)
    assert iz.predict(model, prepared) == answers
    assert iz.predict(model, picture, topk=1) == answers[:1]
    with torch.no_grad():
        expected = model.eval()(prepared[None]).softmax(1)[0]
    model.train()
    assert dict(answers)["b"] == pytest.approx(expected[1].item(), abs=1e-6)


def test_transforms_use_the_models_data(model, picture):
    with Image.open(picture) as opened:
        plain, training = iz.transforms(model)(opened), iz.transforms(model, training=True, scale=(0.5, 1.0))(opened)
        white = iz.transforms(model)(Image.new("RGB", (80, 60), "white"))
    assert plain.shape == training.shape == (3, 48, 48)
    assert white.unique().tolist() == [1.0]  # mean and std of 0.5
    assert not plain.equal(training)


def test_one_channel_and_no_class_names(picture):
    model = iz.create_model("googlenet_cifar", num_classes=2, in_chans=1)
    answers = iz.predict(model, picture)
    assert sorted(name for name, _ in answers) == ["0", "1"]


def test_refusals(model, picture):
    with pytest.raises(iz.ArgumentError, match="num_classes=0"):
        iz.predict(iz.create_model("googlenet_cifar", num_classes=0), picture)
    with pytest.raises(iz.ArgumentError, match="topk=0 must be an int from 1 to"):
        iz.predict(model, picture, topk=0)
    with pytest.raises(iz.ArgumentError, match="transforms: unknown option vflop=0.5; did you mean 'vflip'?"):
        iz.transforms(model, vflop=0.5)
    with pytest.raises(iz.ArgumentError, match="image of type int"):
        iz.predict(model, 7)
    with pytest.raises(iz.ArgumentError, match=r"image of shape \(1, 3, 48, 48\) must have shape \(c, h, w\)"):
        iz.predict(model, torch.zeros(1, 3, 48, 48))
    with pytest.raises(iz.ArgumentError, match="in_chans=5 takes no image file"):
        iz.predict(iz.create_model("googlenet_cifar", in_chans=5), picture)
