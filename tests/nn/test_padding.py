"""Convolutions and pools that pad their input themselves, beside torch's."""

import pytest
import torch
from helpers import noise
from torch.nn import functional as F

import inceptionzoo as iz


@pytest.mark.parametrize("include_pad", [True, False])
@pytest.mark.parametrize("kernel", [3, (3, 5, 1)], ids=str)
def test_padded_averages_are_those_of_torch(kernel, include_pad):
    pool = iz.build(iz.Pool("avg", kernel, include_pad=include_pad), spatial_dims=3)
    x, padding = noise(2, 3, 6, 7, 8), (1, 1, 1) if kernel == 3 else (1, 2, 0)
    expected = F.avg_pool3d(x, kernel, 1, padding, count_include_pad=include_pad)
    assert (pool(x) - expected).abs().max() < 1e-6


@pytest.mark.parametrize("include_pad", [True, False])
def test_padded_averages_of_small_volumes_are_those_of_small_images(include_pad):
    """torch refuses such volumes."""
    layer = iz.Pool("avg", 3, include_pad=include_pad)
    volume, image = (iz.build(layer, spatial_dims=dims) for dims in (3, 2))
    x = noise(2, 3, 1, 1)
    mean = image(x) / (3 if include_pad else 1)  # two thirds of the planes are padding
    assert (volume(x[:, :, None])[:, :, 0] - mean).abs().max() < 1e-6


@pytest.mark.parametrize(("kernel", "sides"), [((3, 2), (1, 1, 0, 1)), ((2, 3), (0, 1, 1, 1)), ((4, 4), (1, 2, 1, 2))], ids=str)
def test_same_padding_of_even_kernels_puts_the_extra_pixel_at_the_end(kernel, sides):
    top, bottom, left, right = sides
    module, x = iz.build(iz.Conv(4, kernel, padding="same", norm=False, act=False)), noise(2, 3, 7, 8)
    expected = F.conv2d(F.pad(x, (left, right, top, bottom)), module.conv.weight)
    assert module(x).shape == (2, 4, 7, 8)
    assert (module(x) - expected).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*is (deprecated|not supported)", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("frames", [1, 4])
def test_replicated_frames_are_traced(frames):
    layer, x = (
        iz.build(iz.Conv(4, (2, 3, 3), stride=(3, 1, 1)), spatial_dims=3, time_padding="replicate"),
        noise(1, 3, frames, 5, 5),
    )
    assert torch.jit.trace(layer.eval(), x, check_trace=False)(x).equal(layer(x))
