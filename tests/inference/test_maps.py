"""Fused models return the maps of several stages from one program."""

import pytest
import torch
from convolutions import WINOGRAD
from helpers import distance, fill, noise
from torch import nn

import inceptionzoo as iz
from inceptionzoo.inference import _executor, _program, fuse

IMAGES = noise(2, 3, 64, 64)


@pytest.fixture(scope="module")
def model() -> iz.Net:
    return fill(iz.create_model("googlenet", num_classes=3))


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """The number of maps that each run of a program returned."""
    counts, run = [], _program.Program.__call__

    def count(program: _program.Program, x: torch.Tensor) -> list[torch.Tensor]:
        maps = run(program, x)
        counts.append(len(maps))
        return maps

    monkeypatch.setattr(_program.Program, "__call__", count)
    return counts


@pytest.mark.parametrize("indices", [None, [0, 2], ["inception4a", "inception4c"], ["conv1"], [4]], ids=str)
@pytest.mark.parametrize("stop_early", [True, False])
def test_maps_of_a_program(model, runs, indices, stop_early):
    options = {"indices": indices, "stop_early": stop_early}
    with torch.no_grad():
        last, maps = model.forward_intermediates(IMAGES, **options)
        found_last, found = fuse(model).forward_intermediates(IMAGES, **options)
    assert runs
    assert len(found) == len(maps)
    for ours, theirs in zip([found_last, *found], [last, *maps], strict=True):
        assert ours.shape == theirs.shape
        assert distance(ours, theirs) < WINOGRAD


def test_feature_networks(runs):
    net = iz.create_model("inception_v3", features_only=True).eval()
    fused = fuse(net)
    with torch.no_grad():
        for images in (noise(1, 3, 96, 96), noise(2, 3, 96, 96)):
            for ours, theirs in zip(fused(images), net(images), strict=True):
                assert distance(ours, theirs) < WINOGRAD
    assert set(runs) == {5}


def test_signals(runs):
    net = iz.create_model("googlenet", spatial_dims=1, features_only=True).eval()
    x = noise(2, 3, 128)
    with torch.no_grad():
        for ours, theirs in zip(fuse(net)(x), net(x), strict=True):
            assert distance(ours, theirs) < WINOGRAD
    assert runs


def test_results_are_not_overwritten_by_the_next_call(model):
    fused = fuse(model)
    with torch.no_grad():
        first = fused.forward_intermediates(IMAGES, intermediates_only=True)
        kept = [each.clone() for each in first]
        fused.forward_intermediates(IMAGES + 1, intermediates_only=True)
    assert all(map(torch.equal, first, kept))


def test_maps_of_a_split_batch(model, monkeypatch):
    monkeypatch.setattr(_executor, "MAX_PROGRAM_BYTES", 3 << 20)
    images, fused = noise(5, 3, 64, 64), fuse(model)
    with torch.no_grad():
        maps = fused.forward_intermediates(images, [0, 3], intermediates_only=True)
        expected = model.forward_intermediates(images, [0, 3], intermediates_only=True)
    assert any(isinstance(program, _executor.SplitBatchProgram) for program in fused.features._programs.values())
    for ours, theirs in zip(maps, expected, strict=True):
        assert distance(ours, theirs) < WINOGRAD


def test_maps_that_are_not_finite(model):
    images = IMAGES.clone()
    images[1, 0, 5, 5] = float("nan")
    with torch.no_grad():
        maps = fuse(model).forward_intermediates(images, [0, 1, 2], intermediates_only=True)
        expected = fuse(model, tune=False).forward_intermediates(images, [0, 1, 2], intermediates_only=True)
    for ours, theirs in zip(maps, expected, strict=True):
        assert torch.equal(ours.isnan(), theirs.isnan())
        assert distance(ours[0], theirs[0]) < WINOGRAD


def test_maps_before_the_activation_and_hooks_run_the_stages_one_by_one(model, runs):
    fused, seen = fuse(model), []
    with torch.no_grad():
        fused.forward_intermediates(IMAGES, ["conv1:pre"])
        fused.features.get_submodule("inception3a").register_forward_hook(lambda *args: seen.append(args))
        fused.forward_intermediates(IMAGES, [1])
    assert not runs
    assert len(seen) == 1


def test_maps_with_gradients(model, runs):
    images = IMAGES.clone().requires_grad_()
    maps = fuse(model).forward_intermediates(images, [1], intermediates_only=True)
    maps[0].sum().backward()
    assert images.grad.abs().sum() > 0
    assert not runs


def test_changed_weights_are_seen(model):
    fused = fuse(model)
    with torch.no_grad():
        before = fused.forward_intermediates(IMAGES, [2], intermediates_only=True)[0]
        conv = next(module for module in fused.features.modules() if isinstance(module, nn.Conv2d))
        conv.weight.mul_(2)
        after = fused.forward_intermediates(IMAGES, [2], intermediates_only=True)[0]
    assert not torch.equal(before, after)
