"""The runners: functions, by name, that do the same job with this library and with others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inference import fuse
from ..nn import Net, to_channels_last
from ..train import use_kernels
from ..weights import save_weights
from ..zoo import create_model
from ._libraries import BUILDERS, LOADERS, Call, entry_name, layout_in, own_options, runtimes, save_in_layout

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the dimensions of the inputs
OWN_RUNNERS = ("inceptionzoo", "fused", "fused, compiled")  # of inference


def inference_runners(model: Net, images: Tensor, *, with_peers: bool, compiled: bool) -> dict[str, Call]:
    """Return functions from images to logits, all with the model's weights and the dtype of the images."""
    runners = dict(_own_runners(model, images.dtype, compiled=compiled))
    if with_peers:
        runners |= dict(_peer_runners(model, images, compiled=compiled))
    return runners


def _own_runners(model: Net, dtype: torch.dtype, *, compiled: bool) -> Iterator[tuple[str, Call]]:
    yield "inceptionzoo", model if dtype is torch.float32 else copy.deepcopy(model).to(dtype)
    yield "fused", fuse(model).to(dtype)
    if compiled:
        yield "fused, compiled", fuse(model, compile=True).to(dtype)


def _peer_runners(model: Net, images: Tensor, *, compiled: bool) -> Iterator[tuple[str, Call]]:
    for library, build in BUILDERS.items():
        if layout_in(library, model):
            network = build(model).eval().to(images)
            yield library, network
            network = copy.deepcopy(network).to(memory_format=CHANNELS_LAST[images.ndim])
            yield f"{library}, channels_last", network
            if compiled:
                yield f"{library}, compiled", torch.compile(network, options={"freezing": True})
    if images.device.type == "cpu" and images.dtype is torch.float32:
        yield from runtimes(model, images)


def training_networks(model: Net, *, with_peers: bool, compiled: bool = False) -> dict[str, Callable[[], Any]]:
    """Return functions that build a network to train, of the model's architecture, with random weights.

    The networks of this library are in channels_last and use its kernels, as in `fit`. Those of others are in each form that a
    user would choose.
    """
    own = partial(_own_network, model)
    networks: dict[str, Callable[[], Any]] = {
        "inceptionzoo": own,
        "inceptionzoo, memory saving off": partial(own, memory_saving=False),
        "inceptionzoo, kernels off": partial(own, kernels=False),
        "inceptionzoo, checkpointed": partial(own, checkpoint=True),
    }
    forms = {"inceptionzoo": networks["inceptionzoo"]}  # that are also compiled
    for library, build in BUILDERS.items() if with_peers else ():
        if layout_in(library, model):
            networks[library] = partial(build, model, random=True)
            form = f"{library}, channels_last"
            networks[form] = forms[form] = partial(_in_channels_last, networks[library], model.network.spatial_dims)
    if compiled:
        networks |= {f"{name}, compiled": partial(_compiled, build) for name, build in forms.items()}
    return networks


def _own_network(model: Net, *, checkpoint: bool = False, memory_saving: bool = True, kernels: bool = True) -> nn.Module:
    net: Net = create_model(entry_name(model), **own_options(model))
    net.set_grad_checkpointing(checkpoint)
    net.set_memory_saving(memory_saving)
    return use_kernels(to_channels_last(net), kernels)


def _in_channels_last(build: Callable[[], Any], dims: int) -> Any:
    return build().to(memory_format=CHANNELS_LAST[dims + 2])


def _compiled(build: Callable[[], Any]) -> Any:
    return torch.compile(build())


def training_step(net: nn.Module, images: Tensor, precision: str = "fp32") -> Callable[[], None]:
    """Return a function that does one training step: forward, backward, SGD with momentum.

    The forward pass uses autocast unless `precision` is "fp32".
    """
    net.to(images.device).train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)
    targets = torch.zeros(len(images), dtype=torch.long, device=images.device)  # a class that every network has

    def step() -> None:
        with torch.autocast(images.device.type, PRECISIONS[precision], enabled=precision != "fp32"):
            loss = F.cross_entropy(net(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        optimizer.zero_grad()

    return step


def loading_runners(model: Net, folder: Path, *, with_peers: bool) -> dict[str, Callable[[], Any]]:
    """Return functions that build the model: with random weights, from its own file, and from the file of each peer.

    A peer's file is loaded by this library and by the peer. Files that do not exist yet are written to the folder.
    """
    create = partial(create_model, entry_name(model), **own_options(model))
    own_file = folder / "inceptionzoo.safetensors"
    if not own_file.exists():
        save_weights(model, own_file)
    runners: dict[str, Callable[[], Any]] = {
        "inceptionzoo, random": create,
        "inceptionzoo, its file": partial(create, weights=own_file),
    }
    for library, build in BUILDERS.items() if with_peers else ():
        layout = layout_in(library, model)
        if layout is None:
            continue
        file = folder / f"{library}.safetensors"
        if not file.exists():
            save_in_layout(model, layout, file)
        runners[f"{library}, random"] = partial(build, model, random=True)
        runners[f"inceptionzoo, {library}'s file"] = partial(create, weights=file)
        runners[f"{library}, its file"] = partial(LOADERS[library], model, file)
    return runners
