"""The random generators of a loader: its own, and those that its samplers, its data set and the parts of these hold."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy
import torch
from numpy.random import Generator, RandomState
from torch import Tensor

MAX_DEPTH = 8  # of parts: a wrapper's data set, its transform, the parts of that
MAX_PARTS = 100  # of a list or dict; longer ones hold images
LEAVES = (type, ModuleType, Tensor, numpy.ndarray)  # these hold no generator


def loader_generators(loader: Iterable[Any]) -> list[torch.Generator]:
    """Return the random generators of a loader and its samplers, without duplicates."""
    generators = [getattr(owner, "generator", None) for owner in (loader, *samplers(loader).values())]
    return list({id(generator): generator for generator in generators if isinstance(generator, torch.Generator)}.values())


def other_generators(loader: Iterable[Any]) -> dict[str, RandomStream]:
    """Return the other generators that the samplers, the data set and the loader hold, by name.

    They are attributes of these, or of what these hold: a data set in a wrapper, a transform, a part of that.
    """
    found: dict[str, RandomStream] = {}
    level = {**samplers(loader), "dataset": getattr(loader, "dataset", None), "loader": loader}
    seen = {id(part) for part in (*loader_generators(loader), *level.values())}
    for _ in range(MAX_DEPTH):
        parts = {f"{name}.{key}": part for name, owner in level.items() for key, part in _parts(owner)}
        level = {}
        for name, part in parts.items():
            if id(part) in seen:
                continue
            seen.add(id(part))
            if not isinstance(part, Generator | RandomState | random.Random | torch.Generator):
                level[name] = part
            elif not isinstance(part, random.SystemRandom):  # which has no state
                found[name] = RandomStream(part)
    return found


def _parts(owner: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the attributes of an object, or the items of a short list or dict, with their names."""
    if isinstance(owner, dict | list | tuple) and len(owner) <= MAX_PARTS:
        yield from owner.items() if isinstance(owner, dict) else enumerate(owner)
    if not isinstance(owner, LEAVES):
        yield from getattr(owner, "__dict__", {}).items()


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
    """A generator with a state dict of JSON values and tensors."""

    generator: Generator | RandomState | random.Random | torch.Generator

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator."""
        match self.generator:
            case torch.Generator():
                return {"state": self.generator.get_state()}
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
            case torch.Generator():
                self.generator.set_state(state)
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
