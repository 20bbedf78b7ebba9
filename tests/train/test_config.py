"""The configuration of fit: its fields, and the fingerprint that is saved in last.safetensors."""

import inspect
from dataclasses import fields
from unittest.mock import patch

import numpy
import pytest
import torch
from torch.optim import SGD

import inceptionzoo as iz
from inceptionzoo.train import _config, _fit
from inceptionzoo.train._config import FitConfig

DATA = [(torch.zeros(4, 3, 8, 8), torch.arange(4) % 2)]


def accuracy(result: iz.Result) -> float:
    return result.accuracy


def configure(model: iz.Net, **options: object) -> FitConfig:
    """Return the configuration of a call of fit."""
    with patch.object(_fit, "make_trainer") as make_trainer:
        iz.fit(model, DATA, **options)
    return make_trainer.call_args.args[0]


def test_fields_are_the_parameters_of_fit():
    parameters = inspect.signature(iz.fit).parameters.values()
    assert [(field.name, field.type) for field in fields(FitConfig)] == [(one.name, one.annotation) for one in parameters]


def test_every_argument_is_documented():
    names = inspect.signature(iz.fit).parameters.keys() - {"model"}
    assert [name for name in names if f"`{name}`" not in iz.fit.__doc__.partition("Data:")[2]] == []


def test_fingerprint_of_the_defaults(tiny):
    """The keys and values of version 0.1."""
    fingerprint = configure(tiny, epochs=3).fingerprint()
    assert fingerprint.pop("model")[0] == "tiny"
    assert fingerprint == {
        "lr": None,
        "momentum": None,
        "weight_decay": None,
        "layer_decay": None,
        "warmup_epochs": 0,
        "epochs": 3,
        "freeze_epochs": 0,
        "patience_epochs": None,
        "optimizer": None,
        "scheduler": None,
        "loss": "NoneType",
        "accumulate": 1,
        "precision": "fp32",
        "channels_last": True,
        "ema": None,
        "label_smoothing": 0.0,
        "class_weights": None,
        "metrics": [],
        "monitor": "accuracy",
        "seed": None,
        "data": [1, None, 0],
        "val": [None, None, 0],
    }


@pytest.mark.parametrize(
    "options",
    [
        {"checkpoint": True},
        {"resume": False},
        {"device": "cpu"},
        {"progress": False},
        {"callbacks": [print]},
    ],
    ids=str,
)
def test_arguments_that_do_not_change_the_training(tiny, options):
    assert configure(tiny, epochs=3, **options).fingerprint() == configure(tiny, epochs=3).fingerprint()


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"lr": 1}, {"lr": 1.0}),
        ({"class_weights": torch.tensor([1.0, 2.0])}, {"class_weights": [1.0, 2.0]}),
        ({"val": DATA}, {"val": [1, None, 0], "monitor": "val_accuracy"}),
        (
            {"val": DATA, "monitor": "-b", "metrics": {"b": accuracy, "a": accuracy}},
            {"val": [1, None, 0], "monitor": "-val_b", "metrics": ["a", "b"]},
        ),
        (
            {"loss": torch.nn.CrossEntropyLoss()},
            {
                "loss": "CrossEntropyLoss()",
                "loss_settings": {"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0},
            },
        ),
        ({"clip_grad_norm": 2.0, "freeze_up_to": "conv1"}, {"clip_grad_norm": 2.0, "freeze_up_to": "conv1"}),
        ({"precision": "bf16", "ema": 0.5, "seed": 7}, {"precision": "bf16", "ema": 0.5, "seed": 7}),
    ],
    ids=["number", "tensor", "val", "metrics", "loss", "newer", "plain"],
)
def test_arguments_that_change_the_fingerprint(tiny, options, changes):
    default = configure(tiny, epochs=3).fingerprint()
    fingerprint = configure(tiny, epochs=3, **options).fingerprint()
    assert {key: value for key, value in fingerprint.items() if value != default.get(key)} == changes
    assert default.keys() <= fingerprint.keys()


def test_the_mode_of_the_whole_model_is_no_part_of_the_fingerprint(tiny):
    """`load_model` returns it in evaluation mode, and all of it is trained."""
    assert configure(tiny.eval(), epochs=1).fingerprint() == configure(tiny.train(), epochs=1).fingerprint()


def test_numbers_of_numpy_become_those_of_python(tiny):
    options = {"epochs": 3, "accumulate": 2, "warmup_epochs": 1, "seed": 7, "lr": 0.5, "ema": 0.5}
    types = {int: numpy.int64, float: numpy.float32}
    config = configure(tiny, **{name: types[type(value)](value) for name, value in options.items()})
    assert {name: getattr(config, name) for name in options} == options
    assert [type(getattr(config, name)) for name in options] == [type(value) for value in options.values()]


def test_fingerprint_of_an_optimizer_has_its_settings(tiny):
    texts = [configure(tiny, epochs=1, optimizer=SGD(tiny.parameters(), lr=lr)).fingerprint()["optimizer"] for lr in (0.1, 0.2)]
    assert texts[0] != texts[1]
    assert texts[0].startswith("SGD [{")
    assert "'lr': 0.1" in texts[0]


def test_the_device_that_was_asked_for_comes_before_the_accelerator(tiny, monkeypatch):
    monkeypatch.setattr(_config, "default_accelerator", lambda: torch.device("cuda", 0))
    assert configure(tiny, epochs=1, device="cpu").target_device == torch.device("cpu")
    assert configure(tiny, epochs=1).target_device == torch.device("cuda", 0)
