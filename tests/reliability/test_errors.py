"""A small run of figures 6, 7 and 8, and a test that each of their counters can count."""

import pytest
import silent
import teaching
from hostile import EXECUTED, FORCED, LIVE, hostile_pickles

from inceptionzoo.nn import _input_check
from inceptionzoo.weights import _load as load
from inceptionzoo.zoo import _registry

SMALL = ("googlenet", "googlenet_paper", "googlenet_cifar", "inception_v2", "inception_v3_fid", "vgg11_bn_cifar", "xception")
UNGUARDED = """
import torch
read = torch.load
torch.load = lambda *arguments, **options: read(*arguments, **options | {"weights_only": False})
"""


def test_no_hostile_pickle_is_executed():
    figure = hostile_pickles()
    assert figure.failures == []
    assert figure.counts["files"] >= 200


def test_an_execution_is_counted():
    figure = hostile_pickles(only=20, sabotage=UNGUARDED)
    assert min(figure.counts[key] for key in (EXECUTED, FORCED, LIVE)) >= 10


def test_nothing_is_silent():
    assert silent.nothing_silent().failures == []


def test_an_unchecked_value_is_counted(monkeypatch):
    monkeypatch.setattr(load, "find_invalid_values", lambda values: [])
    figure = silent.nothing_silent()
    assert figure.counts[silent.SILENT] >= 8
    assert figure.counts[silent.CHANGED] >= 8


def test_misspelled_names_are_suggested():
    assert teaching.misspellings(0.25).failures == []


def test_a_missing_suggestion_is_counted(monkeypatch):
    monkeypatch.setattr(_registry, "suggestion", lambda name, known: ".")
    assert teaching.misspellings(0.001).counts[teaching.BELOW] == 1


def test_bad_arguments_are_refused_before_anything_is_created():
    assert teaching.bad_arguments().failures == []


def test_errors_name_the_smallest_images():
    assert teaching.smallest_inputs(SMALL).failures == []


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_smallest_side_is_counted(monkeypatch, wrong):
    real = _input_check.min_input_size
    monkeypatch.setattr(_input_check, "min_input_size", lambda *args, **kwargs: real(*args, **kwargs) + wrong)
    assert len(teaching.smallest_inputs(["googlenet"]).failures) == 2
