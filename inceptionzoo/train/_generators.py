"""The random generators of a loader: those of torch, and those of NumPy and Python that its samplers and data set hold."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from numpy.random import Generator, RandomState


def loader_generators(loader: Iterable[Any]) -> list[torch.Generator]:
    """Return the random generators of a loader and its samplers, without duplicates."""
    generators = [getattr(owner, "generator", None) for owner in (loader, *samplers(loader).values())]
    return list({id(generator): generator for generator in generators if isinstance(generator, torch.Generator)}.values())


def other_generators(loader: Iterable[Any]) -> dict[str, RandomStream]:
    """Return the generators of NumPy and Python that are attributes of the samplers and of the data set, by name."""
    owners = {**samplers(loader), "dataset": getattr(loader, "dataset", None)}
    found: dict[int, tuple[str, Any]] = {}
    for name, owner in owners.items():
        for key, value in getattr(owner, "__dict__", {}).items():
            if isinstance(value, Generator | RandomState | random.Random):
                found.setdefault(id(value), (f"{name}.{key}", value))
    return {name: RandomStream(value) for name, value in found.values()}


def samplers(loader: Iterable[Any]) -> dict[str, Any]:
    """Return the samplers of a loader, or None, by the name of the attribute."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    return {
        "sampler": getattr(loader, "sampler", None),
        "batch_sampler": batch_sampler,
        "batch_sampler.sampler": getattr(batch_sampler, "sampler", None),
    }


@dataclass(frozen=True, slots=True)
class RandomStream:
    """A generator of NumPy or Python with a state dict that JSON can hold."""

    generator: Generator | RandomState | random.Random

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator."""
        match self.generator:
            case random.Random():
                return {"state": self.generator.getstate()}
            case RandomState():
                return {"state": _as_lists(self.generator.get_state(legacy=False))}
            case _:
                return {"state": _as_lists(self.generator.bit_generator.state)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        state = state_dict["state"]
        match self.generator:
            case random.Random():
                version, numbers, gauss = state
                self.generator.setstate((version, tuple(numbers), gauss))
            case RandomState():
                self.generator.set_state(state)
            case _:
                self.generator.bit_generator.state = state


def _as_lists(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _as_lists(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, numpy.ndarray) else state
