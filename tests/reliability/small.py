"""Small models for these tests: a tiny network, and narrow versions of every registered one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch

import inceptionzoo as iz
from inceptionzoo.spec import make_network
from inceptionzoo.spec._layers import Layer
from inceptionzoo.spec._network_cost import network_cost
from inceptionzoo.spec._walk import map_leaves
from inceptionzoo.zoo._registry import REGISTRY, find_entry

MEMORY_DISK = "/dev/shm" if os.path.isdir("/dev/shm") else None


@contextmanager
def registered(name: str, network: object, **about: object) -> Iterator[None]:
    """Register a model of this name inside the block."""
    iz.register_model(name, network, **about)
    try:
        yield
    finally:
        del REGISTRY[name]


def tiny_network(*, width: int = 4, kernel: int | tuple[int, ...] = 3) -> iz.Network:
    """Return a network of every kind of tensor, in a few kilobytes: branches, normalisation, an auxiliary head."""
    side = iz.Aux("stem", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2))
    block = iz.concat(one=iz.Conv(2), two=iz.chain(iz.Pool("max", 3), iz.Conv(2, kernel)))
    return iz.network(stem=iz.Conv(width, 3), block=block, aux=(side,))


@contextmanager
def tiny_at(name: str) -> Iterator[Path]:
    """Yield a path of this name, in a memory file system if there is one; the model "tiny" is registered inside the block."""
    with (
        registered("tiny", tiny_network, num_classes=3, input_size=(3, 8, 8)),
        tempfile.TemporaryDirectory(dir=MEMORY_DISK) as folder,
    ):
        yield Path(folder) / name


def shaken(model: iz.Net, seed: int) -> iz.Net:
    """Return the model with random valid values."""
    pick = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randint(1, 99, tensor.shape, generator=pick) / (64 if tensor.is_floating_point() else 1))
    return model


def narrow(network: iz.Network, by: int) -> iz.Network:
    """Return the network with every width divided by `by`, at least 1.

    Raises:
        SpecError: the narrow widths do not fit together.
    """

    def width(out: int, groups: int = 1) -> int:
        return max(1, out // by // groups) * groups

    def thin(layer: Layer) -> Layer:
        return replace(layer, out=width(layer.out, layer.groups)) if isinstance(layer, iz.Conv) else layer

    def head(whole: iz.Head) -> iz.Head:
        return replace(whole, hidden=tuple(map(width, whole.hidden)))

    stages = tuple((name, map_leaves(layer, thin)) for name, layer in network.stages)
    aux = tuple(replace(branch, layers=map_leaves(branch.layers, thin), head=head(branch.head)) for branch in network.aux)
    return replace(network, stages=stages, aux=aux, head=head(network.head))


def narrowed(name: str) -> iz.Network:
    """Return the network of a registered model, as narrow as its widths allow."""
    entry = find_entry(name)
    network = make_network(entry, {})
    for by in (32, 16, 8, 4, 2):
        thin = narrow(network, by)
        with suppress(iz.SpecError):
            network_cost(thin, iz.Shape(*entry.data.input_size), 1)
            return thin
    return network
