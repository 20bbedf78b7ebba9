"""The estimated memory of a training step."""

import copy

import numpy
import pytest
import torch
from helpers import quick

import inceptionzoo as iz
from inceptionzoo.bench.memory import CLEAR_REFS, measure_in_subprocess

MEASURED = {"googlenet": (8, 224), "vgg11_bn": (4, 128), "inception_v3": (4, 299), "xception": (2, 299)}


def test_the_parts_are_counted_exactly(tiny):
    estimate = iz.train.estimate_memory(tiny, numpy.int64(1), states=numpy.int64(3))
    assert estimate.gradients == sum(4 * parameter.numel() for parameter in tiny.parameters())
    assert estimate.weights == estimate.gradients + sum(buffer.nbytes for buffer in tiny.buffers())
    assert estimate.optimizer == 3 * estimate.gradients
    assert estimate.total == estimate.weights + estimate.gradients + estimate.optimizer + estimate.maps
    for parameter in tiny.features.parameters():
        parameter.requires_grad_(False)
    frozen = iz.train.estimate_memory(tiny, 1)
    assert frozen.gradients == sum(4 * parameter.numel() for parameter in tiny.head.parameters())
    assert frozen.maps < estimate.maps


def test_maps_grow_with_the_batch_and_the_size(tiny):
    def maps(batch_size: int) -> int:
        return iz.train.estimate_memory(tiny, batch_size).maps

    growth = maps(2) - maps(1)
    assert maps(9) == maps(1) + 8 * growth
    tiny.set_input_size(16)
    assert maps(2) - maps(1) > 3.5 * growth


def test_one_image_whose_maps_have_one_pixel(make):
    """Batch normalisation uses its running statistics, as in `fit`; it keeps as many bytes for its input."""
    model = make()
    two = iz.train.estimate_memory(model, 2).maps
    model.set_input_size(1)
    assert 0 < iz.train.estimate_memory(model, 1).maps <= iz.train.estimate_memory(model, 2).maps < two
    model.set_input_size(8)
    assert iz.train.estimate_memory(model, 2).maps == two


def test_weights_are_no_maps():
    """The layers keep their weights for the backward pass; those of VGG's dense layers are far larger than its maps."""
    estimate = iz.train.estimate_memory(iz.create_model("vgg11", device="meta"), 1)
    assert estimate.maps < estimate.weights / 10


def test_the_model_stays_as_it_is(tiny):
    tiny.head.register_forward_hook(lambda *_: None)
    state, training = copy.deepcopy(tiny.state_dict()), tiny.training
    rng = torch.get_rng_state()
    iz.train.estimate_memory(tiny, 4)
    assert all(value.equal(state[key]) for key, value in tiny.state_dict().items())
    assert (tiny.training, all(parameter.grad is None for parameter in tiny.parameters())) == (training, True)
    assert torch.get_rng_state().equal(rng)


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="the system does not report peak memory")
@pytest.mark.parametrize("name", quick(MEASURED, ["googlenet"]))
def test_the_estimate_is_near_what_a_step_takes(name):
    """By torch's operations. The kernels keep less for the backward pass."""
    batch_size, size = MEASURED[name]
    model = iz.create_model(name, device="meta")
    model.set_input_size(size)
    estimate = iz.train.estimate_memory(model, batch_size)
    needed = estimate.total - estimate.weights - estimate.optimizer  # which exists when the second step starts
    options = {"model": name, "threads": 1, "with_peers": False, "shape": [batch_size, 3, size, size]}
    by_torch, by_kernels = (
        measure_in_subprocess(runner=runner, **options) * 2**20 for runner in ("inceptionzoo, kernels off", "inceptionzoo")
    )
    assert 0.75 < by_torch / needed < 1.1  # while gradients are made, maps are freed
    assert 0.5 * needed < by_kernels < by_torch


def test_arguments(tiny):
    with pytest.raises(iz.ArgumentError, match="batch_size=0 must be an int from 1"):
        iz.train.estimate_memory(tiny, 0)
    with pytest.raises(iz.ArgumentError, match="states=-1 must be an int from 0"):
        iz.train.estimate_memory(tiny, 1, states=-1)
    with pytest.raises(iz.ArgumentError, match="estimate_memory takes a model of create_model"):
        iz.train.estimate_memory(torch.nn.Linear(1, 1), 1)
