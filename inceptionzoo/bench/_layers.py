"""The time of each layer of a fused network."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..inference import fuse
from ..kernels import has_jit
from ..nn import Net
from ._libraries import entry_name
from ._timing import WARM_UP

if TYPE_CHECKING:
    from ..inference.layers import Layer


def check_layers(model: Net) -> None:
    """Check that the layers of a model can be recorded."""
    if model.network.spatial_dims > 2:
        name = entry_name(model)
        raise ArgumentError(f"bench: the layers of {name!r}, which takes clips, run by torch alone; name another model")
    if not has_jit():
        raise ArgumentError("bench: job='layers' needs llvmlite 0.46: pip install 'inceptionzoo[fast]'")


def time_layers(model: Net, images: Tensor, rounds: int) -> list[tuple[Layer, list[float]]]:
    """Return the layers of the fused model up to its head, and the seconds that each took in each round.

    A round runs all layers in order on images (n, c, h, w) or signals (n, c, length).
    """
    from ..inference.layers import RecordedLayers, layer_input

    x = layer_input(images)
    recorded = RecordedLayers(fuse(model).features, x, model.network.spatial_dims)
    with torch.inference_mode():
        seconds = [_time_pass(recorded.layers, x) for _ in range(WARM_UP + rounds)][WARM_UP:]
    return list(zip(recorded.layers, map(list, zip(*seconds, strict=True)), strict=True))


def _time_pass(layers: list[Layer], x: Tensor) -> list[float]:
    """Run the layers in order; return the seconds of each."""
    values, times = [x], [time.perf_counter()]
    for layer in layers:
        for step in layer.steps:
            step(values)
        times.append(time.perf_counter())
    return [stop - start for start, stop in pairwise(times)]
