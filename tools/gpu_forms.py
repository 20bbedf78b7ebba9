"""The forms in which a network is timed: our library and others, memory formats, CUDA graphs, torch.compile."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

import inceptionzoo as iz
from inceptionzoo.bench._libraries import BUILDERS, layout_in
from inceptionzoo.nn import to_channels_last

Call = Callable[[Tensor], Tensor]
Form = Callable[[Tensor], Call]  # returns a function of images; it is called once, with images of the same layout
CHANNELS_LAST = ", channels_last"
REFERENCE = f"inceptionzoo{CHANNELS_LAST}"  # the times of the forms of a network are divided by its times


def set_tf32(enabled: bool) -> None:
    """Let float32 convolutions and matrix products on a GPU use TF32, or not."""
    torch.set_float32_matmul_precision("high" if enabled else "highest")
    torch.backends.cudnn.allow_tf32 = enabled


def peers(model: iz.Net) -> list[str]:
    """Return the other installed libraries that have the model."""
    return [library for library in BUILDERS if find_spec(library) and layout_in(library, model)]


def networks(model: iz.Net, dtype: torch.dtype) -> dict[str, Any]:
    """Return the model, contiguous, in channels_last and fused, and the network of each other library with its weights."""
    found: dict[str, Any] = {"inceptionzoo": copy.deepcopy(model).to(dtype)}
    found[REFERENCE] = to_channels_last(copy.deepcopy(found["inceptionzoo"]))
    found["fused"] = iz.fuse(model, tune=False).to(dtype)  # tuning is for a CPU
    for library in peers(model):
        found[library] = BUILDERS[library](model).eval().to(next(model.parameters()).device, dtype)
        found[library + CHANNELS_LAST] = to_channels_last(copy.deepcopy(found[library]))
    return found


def is_channels_last(name: str) -> bool:
    """Return whether a form takes images in channels_last."""
    return name.startswith("fused") or CHANNELS_LAST in name


def eager_forms(nets: dict[str, Any], device: torch.device) -> dict[str, Form]:
    """Return each network as it is and, on a GPU, those in channels_last as CUDA graphs."""
    forms: dict[str, Form] = {}
    for name, network in nets.items():
        forms[name] = partial(_unchanged, network)
        if device.type == "cuda" and is_channels_last(name):
            forms[f"{name}, CUDA graph"] = partial(capture, network)
    return forms


def compiled_forms(nets: dict[str, Any], device: torch.device) -> dict[str, Form]:
    """Return our model in channels_last, and all networks in channels_last compiled; on a GPU also in CUDA graphs."""
    forms: dict[str, Form] = {REFERENCE: partial(_unchanged, nets[REFERENCE])}
    for name, network in sorted(nets.items(), key=lambda item: item[0] == "fused"):  # last, if time is short
        if is_channels_last(name):
            compiled = torch.compile(network, dynamic=False)
            forms[f"{name}, compiled"] = partial(_unchanged, compiled)
            if device.type == "cuda":
                forms[f"{name}, compiled, CUDA graph"] = partial(capture, compiled)
    return forms


def _unchanged(network: Call, _: Tensor) -> Call:
    return network


def capture(network: Call, images: Tensor) -> Call:
    """Return a function that copies images into a buffer and replays a CUDA graph of the network on it.

    Its images must have the shape, dtype and memory format of `images`. Its output is overwritten by the next call.
    """
    static = images.clone()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's own
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # capturing needs loaded kernels and allocated workspaces
            network(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = network(static)

    def replay(x: Tensor) -> Tensor:
        static.copy_(x)
        graph.replay()
        return output

    return replay
