"""Xception beside its paper's Figure 5 and timm's."""

import pytest
import timm
import torch
from helpers import distance, fill, noise, one_thread, outputs, shape_text
from pytorchcv.models.xception import xception as pytorchcv_xception

import inceptionzoo as iz
from inceptionzoo.models.xception import ENTRIES
from inceptionzoo.nn._build import build_network
from inceptionzoo.spec._cost import Shape
from inceptionzoo.spec._network_cost import network_cost, stage_costs

ENTRY, _ = ENTRIES
ENDPOINTS = {  # Figure 5, at 299 px; it prints 19x19x728 before and after the middle flow
    "conv1": "149x149x32",
    "conv2": "147x147x64",
    "block1": "74x74x128",
    "block2": "37x37x256",
    "block3": "19x19x728",
    **{f"block{number}": "19x19x728" for number in range(4, 12)},
    "block12": "10x10x1024",
    "conv3": "10x10x1536",
    "conv4": "10x10x2048",
}
ENDS = {name: {"conv1": "act1", "conv2": "act2", "conv3": "act3", "conv4": "act4"}.get(name, name) for name in ENDPOINTS}


@pytest.fixture(scope="module")
def reference():
    with torch.device("meta"):
        model = timm.create_model("legacy_xception")
    return fill(model, noise(4, 3, 96, 96))


@pytest.fixture(scope="module")
def ours(reference):
    with torch.device("meta"):
        model = build_network(ENTRY.network(), entry=ENTRY, num_classes=1000)
    assert iz.load_weights(model, reference.state_dict()).layout == "timm"
    return model.eval()


def test_parameters():
    with torch.device("meta"):
        model = build_network(ENTRY.network(), entry=ENTRY, num_classes=1000)
    assert network_cost(model.network, Shape(3, 299, 299), 1000).params == 22_855_952
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_855_952
    assert (model.min_input_size, model.head.drop.p) == (7, 0.5)
    convs = [part for part in model.features.modules() if isinstance(part, torch.nn.Conv2d)]
    separable = sum(part.groups > 1 for part in convs)
    assert (separable, len(convs) - 2 * separable) == (34, 2 + 4)  # 36 layers as the paper counts; 4 shortcuts beside them


@pytest.mark.parametrize("size", [(299, 299), (171, 130)], ids=str)
@one_thread()
def test_equals_timm_at_every_stage(reference, ours, size):
    x = noise(1, 3, *size)
    ends = {name: getattr(reference, end) for name, end in ENDS.items()}
    theirs = outputs(ends | {"logits": reference}, lambda: reference(x))
    seen = outputs(dict(ours.features.named_children()) | {"logits": ours}, lambda: ours(x))
    if size == (299, 299):
        shapes = {name: shape_text(value) for name, value in seen.items() if name != "logits"}
        assert shapes == ENDPOINTS == {name: str(row.shape) for name, _, row in stage_costs(ours.network, Shape(3, *size))}
    assert list(seen) == list(theirs)
    for name, expected in theirs.items():
        assert expected.std() > 1e-3, name
        assert seen[name].equal(expected), name


def test_training_equals_timm(reference, ours):
    """The gradients too: an activation in place would change what a shortcut, or the backward pass, sees."""
    x = noise(2, 3, 75, 75)
    drop, ours.head.drop.p = ours.head.drop.p, 0.0  # timm's has none unless asked
    before = {key: value.clone() for key, value in reference.state_dict().items()}
    try:
        with one_thread():
            for model in (reference, ours):
                model.train().zero_grad()
                model(x).square().sum().backward()
        table = ENTRY.layouts[0].table(key for key, _ in ours.named_parameters())
        theirs = dict(reference.named_parameters())
        for key, parameter in ours.named_parameters():
            assert parameter.grad.abs().max() > 0, key
            assert parameter.grad.equal(theirs[table[key]].grad), key
    finally:
        ours.head.drop.p = drop
        for model in (reference, ours):
            model.eval().zero_grad()
        reference.load_state_dict(before)
        iz.load_weights(ours, before)


def test_layout_is_a_bijection(reference, ours):
    layout = ENTRY.layouts[0]
    state, theirs = ours.state_dict(), reference.state_dict()
    table = layout.table(state)
    assert set(table.values()) == set(theirs)
    assert all(state[key].equal(theirs[name]) for key, name in table.items())


def test_data_is_timms(reference):
    config = reference.default_cfg
    assert (*ENTRY.data.mean, *ENTRY.data.std) == (*config["mean"], *config["std"])
    data = (ENTRY.data.input_size, ENTRY.data.interpolation, ENTRY.data.crop_pct)
    assert data == (config["input_size"], config["interpolation"], config["crop_pct"])


@torch.no_grad()
@pytest.mark.parametrize("size", [(299, 299), (131, 99)], ids=str)
def test_equals_pytorchcv(size):
    with torch.device("meta"):
        peer, model = pytorchcv_xception(), build_network(ENTRY.network(), entry=ENTRY, num_classes=1000)
    peer = fill(peer, noise(2, 3, 299, 299))
    assert iz.load_weights(model, peer.state_dict()).layout == "pytorchcv"
    table = ENTRY.layouts[1].table(model.state_dict())
    assert set(table.values()) == set(peer.state_dict())
    x, model = noise(1, 3, *size), model.eval()
    parts = peer.features
    blocks = [*parts.stage1, *parts.stage2, *parts.stage3, *parts.stage4]
    names = [f"block{number}" for number in range(1, 13)]
    expected = outputs(dict(zip(names, blocks, strict=True)), lambda: torch.nn.Sequential(parts.init_block, *blocks)(x))
    seen = outputs(dict(model.features.named_children()), lambda: model(x))
    for name, value in expected.items():
        assert value.std() > 1e-3, name
        assert distance(seen[name].relu(), value.relu()) < 1e-6, name
    if size == (299, 299):
        assert distance(model(x), peer(x)) < 1e-6
