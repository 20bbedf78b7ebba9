"""Inception-v4 beside its paper's figures and timm's."""

import pytest
import timm
import torch
from helpers import fill, noise, one_thread, outputs, shape_text

import inceptionzoo as iz
from inceptionzoo.models.inception_v4 import ENTRIES, inception_a, inception_b, inception_c, reduction_a, reduction_b
from inceptionzoo.nn._build import build_network
from inceptionzoo.spec._cost import Shape, layer_cost
from inceptionzoo.spec._network_cost import network_cost, stage_costs

(ENTRY,) = ENTRIES
STEM = "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Mixed_3a Mixed_4a Mixed_5a"
ENDPOINTS = dict(  # Figures 3 and 9, at 299 px
    zip(STEM.split(), ("149x149x32", "147x147x32", "147x147x64", "73x73x160", "71x71x192", "35x35x384"), strict=True)
) | {
    **{f"Mixed_5{letter}": "35x35x384" for letter in "bcde"},
    **{f"Mixed_6{letter}": "17x17x1024" for letter in "abcdefgh"},
    **{f"Mixed_7{letter}": "8x8x1536" for letter in "abcd"},
}
BLOCKS = (  # a block, the shape that goes in, the shape that comes out
    (inception_a(), (384, 35, 35), "35x35x384"),  # Figure 4
    (inception_b(), (1024, 17, 17), "17x17x1024"),  # Figure 5
    (inception_c(), (1536, 8, 8), "8x8x1536"),  # Figure 6
    (reduction_a(192, 224, 256, 384), (384, 35, 35), "17x17x1024"),  # Figure 7, Table 1
    (reduction_b(), (1024, 17, 17), "8x8x1536"),  # Figure 8
)


@pytest.fixture(scope="module")
def reference():
    with torch.device("meta"):
        model = timm.create_model("inception_v4")
    return fill(model, noise(4, 3, 128, 128))


@pytest.fixture(scope="module")
def ours(reference):
    with torch.device("meta"):
        model = build_network(ENTRY.network(), entry=ENTRY, num_classes=1000)
    assert iz.load_weights(model, reference.state_dict()).layout == "timm"
    return model.eval()


def test_parameters():
    with torch.device("meta"):
        model = build_network(ENTRY.network(), entry=ENTRY, num_classes=1000)
    assert network_cost(model.network, Shape(3, 299, 299), 1000).params == 42_679_816
    assert sum(parameter.numel() for parameter in model.parameters()) == 42_679_816
    assert (model.min_input_size, model.head.drop.p) == (75, 0.2)


@pytest.mark.parametrize(("block", "before", "after"), BLOCKS, ids=["4", "5", "6", "7", "8"])
def test_blocks_are_the_figures(block, before, after):
    assert str(layer_cost(block, Shape(*before)).shape) == after


@pytest.mark.parametrize("size", [(299, 299), (171, 131)], ids=str)
@one_thread()
def test_equals_timm_at_every_stage(reference, ours, size):
    x = noise(1, 3, *size)
    theirs = outputs(dict(reference.features.named_children()) | {"logits": reference}, lambda: reference(x))
    seen = outputs(dict(ours.features.named_children()) | {"logits": ours}, lambda: ours(x))
    if size == (299, 299):
        shapes = {name: shape_text(value) for name, value in seen.items() if name != "logits"}
        assert shapes == ENDPOINTS == {name: str(row.shape) for name, _, row in stage_costs(ours.network, Shape(3, *size))}
    for (name, value), expected in zip(seen.items(), theirs.values(), strict=True):
        assert expected.std() > 1e-3, name
        assert value.equal(expected), name


def test_layout_is_a_bijection(reference, ours):
    (layout,) = ENTRY.layouts
    state, theirs = ours.state_dict(), reference.state_dict()
    table = layout.table(state)
    assert list(table.values()) == list(theirs)
    assert all(state[key].equal(theirs[name]) for key, name in table.items())


def test_data_is_timms(reference):
    config = reference.default_cfg
    assert (*ENTRY.data.mean, *ENTRY.data.std) == (*config["mean"], *config["std"])
    data = (ENTRY.data.input_size, ENTRY.data.interpolation, ENTRY.data.crop_pct)
    assert data == (config["input_size"], config["interpolation"], config["crop_pct"])
