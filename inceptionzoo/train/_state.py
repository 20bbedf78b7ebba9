"""The state of a training in one file, so that one that was cut short goes on as if it had not been."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import ArgumentError, FileError
from ..weights import MARKER, read_safetensors, write_safetensors
from ._history import Row

LAST = "last.safetensors"
KIND = "training"


def as_json_value(name: str, value: Any) -> Any:
    """Return a value that JSON holds.

    Raises:
        ArgumentError: JSON cannot hold it.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Real):  # numpy's too
        return float(value)
    raise ArgumentError(f"{name}={value!r} cannot be kept in out to go on from; pass out=None, and save the model yourself")


def check_parts(parts: Mapping[str, Any]) -> None:
    """Check that the states of these parts can be kept.

    Raises:
        ArgumentError: one holds what is neither a tensor nor plain.
    """
    for name, part in parts.items():
        _split(part.state_dict(), name, {})


def stateful(optimizer: Optimizer | None, scheduler: LRScheduler | None, batches: Iterable[Any]) -> dict[str, Any]:
    """Return, by name, those that are there and have a state; torchdata's StatefulDataLoader has one, torch's none."""
    loader = batches if hasattr(batches, "state_dict") and hasattr(batches, "load_state_dict") else None
    parts = {"optimizer": optimizer, "scheduler": scheduler, "loader": loader}
    return {name: part for name, part in parts.items() if part is not None}


def save_state(
    path: Path,
    parts: Mapping[str, Any],
    batches: Iterable[Any],
    rows: list[Row],
    asked: Mapping[str, Any],
    device: torch.device,
) -> None:
    """Write everything that the next epoch depends on: `parts` are things with a `state_dict`, by name.

    Raises:
        ArgumentError: a part's state cannot be kept.
    """
    tensors: dict[str, Tensor] = {}
    states = {name: _split(part.state_dict(), name, tensors) for name, part in parts.items()}
    for number, generator in enumerate(generators(batches)):
        tensors[f"generator.{number}"] = generator.get_state()
    tensors["random.torch"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    kind, keys, *rest = numpy.random.get_state(legacy=True)
    tensors["random.numpy"] = torch.from_numpy(numpy.asarray(keys).astype(numpy.int64))
    header = {
        "kind": KIND,
        "states": states,
        "rows": rows,
        "asked": dict(asked),
        "numpy": [kind, *rest],
        "python": random.getstate(),
    }
    write_safetensors(path, tensors, {"format": "pt", MARKER: json.dumps(header)})


@dataclass(frozen=True, slots=True)
class State:
    """What a file says of a training: its header and its tensors."""

    header: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def rows(self) -> list[Row]:
        """The rows of the epochs that are done."""
        rows: list[Row] = self.header["rows"]
        return rows

    def restore(self, parts: Mapping[str, Any], batches: Iterable[Any], device: torch.device) -> None:
        """Put everything back as it was."""
        for name, part in parts.items():
            part.load_state_dict(_joined(self.header["states"][name], self.tensors))
        for number, generator in enumerate(generators(batches)):
            generator.set_state(self.tensors[f"generator.{number}"])
        torch.set_rng_state(self.tensors["random.torch"])
        if device.type == "cuda" and "random.cuda" in self.tensors:
            torch.cuda.set_rng_state(self.tensors["random.cuda"], device)
        kind, *rest = self.header["numpy"]
        numpy.random.set_state((kind, self.tensors["random.numpy"].numpy().astype(numpy.uint32), *rest))
        version, state, gauss = self.header["python"]
        random.setstate((version, tuple(state), gauss))


def read_state(path: Path, asked: Mapping[str, Any]) -> State:
    """Return the state in a file.

    Raises:
        FileError: the file is none of a training, or damaged.
        ArgumentError: the training was asked for with other arguments.
    """
    tensors, metadata = read_safetensors(path)
    try:
        header = json.loads(metadata.get(MARKER, "{}"))
    except ValueError:
        header = {}
    if header.get("kind") != KIND:
        raise FileError(f"{path} holds no training; remove it, or pass another folder as out")
    was, now = header["asked"], json.loads(json.dumps(dict(asked)))
    if others := [key for key in now if was.get(key) != now[key]]:
        said = "; ".join(f"{key} was {was.get(key)!r}, is {now[key]!r}" for key in others[:3])
        raise ArgumentError(f"{path} is of another training: {said}; pass another folder as out, or resume=False")
    return State(header, tensors)


def set_seed(seed: int) -> None:
    """Set the random generators that the state keeps."""
    torch.manual_seed(seed)
    numpy.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def preserved_rng(device: torch.device) -> Iterator[None]:
    """Leave the random generators as they are: what is drawn meanwhile changes nothing of the training."""
    python, numbers = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    random.setstate(python)
    numpy.random.set_state(numbers)


def _split(state: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a state as JSON; each tensor of it goes to `tensors`, and its name there stands for it."""
    if isinstance(state, Tensor):
        tensors[name] = state
        return {"tensor": name}
    if isinstance(state, Mapping):
        items = [[as_json_value(name, key), _split(value, f"{name}.{key}", tensors)] for key, value in state.items()]
        return {"dict": items}
    if isinstance(state, list | tuple):
        return {"list": [_split(value, f"{name}.{index}", tensors) for index, value in enumerate(state)]}
    return {"value": as_json_value(name, state)}


def _joined(state: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `_split` took apart."""
    ((kind, value),) = state.items()
    match kind:
        case "tensor":
            return tensors[value]
        case "dict":
            return {key: _joined(item, tensors) for key, item in value}
        case "list":
            return [_joined(item, tensors) for item in value]
        case _:
            return value


def generators(batches: Iterable[Any]) -> list[torch.Generator]:
    """Return the random generators that a loader has of its own, each once."""
    sampler = getattr(batches, "sampler", None)
    inner = getattr(getattr(batches, "batch_sampler", None), "sampler", None)
    found = [getattr(owner, "generator", None) for owner in (batches, sampler, inner)]
    return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())
