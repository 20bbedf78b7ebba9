"""Save and restore the state of a training, so that a resumed training ends with the same bits."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ArgumentError, FileError
from ..weights import MARKER, read_safetensors, write_safetensors
from ._encoding import join_tensors, split_tensors
from ._generators import loader_generators, other_generators
from ._history import Row
from ._schedule import Schedule, Scheduler

LAST = "last.safetensors"
KIND = "training"
FIRST = ("model", "optimizer", "scheduler", "scaler", "average", "loader")  # states in the files of version 0.1
VAL = "val."  # begins the names of what belongs to the validation data
Loaders = Mapping[str, Iterable[Any]]  # the loaders by the beginning of their names in the file: "" and `VAL`
STEPPED = frozenset({"optimizer", "scheduler", "frozen"})  # keys of the fingerprint whose values a training changes
ENDS = "epochs", "patience_epochs"  # keys of the fingerprint that may differ: they only say when the training ends
ADDED = ("classes", "dtype", "frozen", "loss_settings")  # keys of the fingerprint that files of version 0.1 do not have


def check_state_dicts(objects: Mapping[str, Any]) -> None:
    """Check that the state dict of each object can be saved.

    Raises:
        ArgumentError: a state dict holds a value that is not a tensor and that JSON cannot hold.
    """
    for name, owner in objects.items():
        split_tensors(owner.state_dict(), name, {})


def stateful_objects(
    optimizer: Optimizer | None, scheduler: Scheduler | Schedule | None, loaders: Loaders, loss: object
) -> dict[str, Any]:
    """Return, by name, the objects that have a state dict. torchdata's StatefulDataLoader has one; a DataLoader has none.

    A loss has one if it is a module with parameters or buffers; a generator of the data has one too.
    """
    stateful_loss = loss if isinstance(loss, nn.Module) and loss.state_dict() else None
    objects: dict[str, Any] = {"optimizer": optimizer, "scheduler": scheduler, "loss": stateful_loss}
    for prefix, loader in loaders.items():
        is_stateful = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
        objects[f"{prefix}loader"] = loader if is_stateful else None
        objects |= {f"{prefix}{name}": generator for name, generator in other_generators(loader).items()}
    return {name: owner for name, owner in objects.items() if owner is not None}


def _torch_generators(loaders: Loaders) -> dict[str, torch.Generator]:
    """Return the generators of torch in the loaders, by the name of their tensor in the file."""
    return {
        f"{prefix}generator.{index}": generator
        for prefix, loader in loaders.items()
        for index, generator in enumerate(loader_generators(loader))
    }


def worker_counts(loaders: Loaders) -> list[int]:
    """Return the number of worker processes of each loader: random numbers that the data sets draw depend on it."""
    return [getattr(loader, "num_workers", 0) for loader in loaders.values()]


def save_state(
    path: Path,
    objects: Mapping[str, Any],
    loaders: Loaders,
    rows: list[Row],
    fingerprint: Mapping[str, Any],
    device: torch.device,
) -> None:
    """Write everything that the next epoch depends on; each of `objects` has a state dict.

    Raises:
        ArgumentError: a state dict cannot be saved.
    """
    tensors: dict[str, Tensor] = {}
    states = {name: split_tensors(owner.state_dict(), name, tensors) for name, owner in objects.items()}
    tensors |= {name: generator.get_state() for name, generator in _torch_generators(loaders).items()}
    tensors["random.torch"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    kind, keys, *rest = numpy.random.get_state(legacy=True)
    tensors["random.numpy"] = torch.from_numpy(numpy.asarray(keys).astype(numpy.int64))
    header = {
        "kind": KIND,
        "frozen": [name for name, parameter in objects["model"].named_parameters() if not parameter.requires_grad],
        "states": states,
        "rows": rows,
        "asked": dict(fingerprint),  # the name of the fingerprint in the files of version 0.1
        "numpy": [kind, *rest],
        "python": random.getstate(),
        "workers": worker_counts(loaders),
    }
    write_safetensors(path, tensors, {"format": "pt", MARKER: json.dumps(header)})


@dataclass(frozen=True, slots=True)
class State:
    """The header and the tensors of a saved training."""

    header: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def epochs(self) -> int:
        """The number of epochs that the training was to have."""
        epochs: int = self.header["asked"]["epochs"]
        return epochs

    @property
    def workers(self) -> list[int] | None:
        """The number of worker processes of each loader; None in the files of version 0.1."""
        workers: list[int] | None = self.header.get("workers")
        return workers

    @property
    def rows(self) -> list[Row]:
        """The rows of the finished epochs."""
        rows: list[Row] = self.header["rows"]
        return rows

    def restore(self, objects: Mapping[str, Any], loaders: Loaders, device: torch.device) -> None:
        """Load the state dicts of the objects, that of the model last, and set all random generators.

        Raises:
            ArgumentError: an object does not take its state. The weights of the model are unchanged then.
        """
        for name in sorted(objects, key=lambda name: name == "model"):
            if name not in self.header["states"] and name not in FIRST:
                continue  # version 0.1 did not save it
            try:
                objects[name].load_state_dict(join_tensors(self.header["states"][name], self.tensors))
            except (KeyError, RuntimeError, ValueError) as error:
                raise ArgumentError(
                    f"the saved state of the {name} does not fit: {error}; pass the same {name} as before, or resume=False"
                ) from error
        if "frozen" in self.header:  # a callback may have changed it
            for name, parameter in objects["model"].named_parameters():
                parameter.requires_grad_(name not in self.header["frozen"])
        for name, generator in _torch_generators(loaders).items():
            if name in self.tensors or not name.startswith(VAL):  # version 0.1 did not save those of the validation data
                generator.set_state(self.tensors[name])
        torch.set_rng_state(self.tensors["random.torch"])
        if device.type == "cuda" and "random.cuda" in self.tensors:
            torch.cuda.set_rng_state(self.tensors["random.cuda"], device)
        kind, *rest = self.header["numpy"]
        numpy.random.set_state((kind, self.tensors["random.numpy"].numpy().astype(numpy.uint32), *rest))
        version, state, gauss = self.header["python"]
        random.setstate((version, tuple(state), gauss))


def _show(key: str, fingerprint: Mapping[str, Any]) -> str:
    """Return a value of a fingerprint as text, with a name for each number of a loader."""
    value = fingerprint.get(key)
    if key in ("data", "val") and isinstance(value, list):
        names = "batches", "images", "random generators"
        return f"({', '.join(f'{name}: {number}' for name, number in zip(names, value, strict=False))})"
    return repr(value)


def read_state(path: Path, fingerprint: Mapping[str, Any]) -> State:
    """Return the state in a file. The arguments that say when the training ends may differ from those in the file.

    Raises:
        FileError: the file does not hold a training, or is damaged.
        ArgumentError: the training has another fingerprint, or more epochs.
    """
    tensors, metadata = read_safetensors(path)
    try:
        header = json.loads(metadata.get(MARKER, "{}"))
    except ValueError:
        header = {}
    if header.get("kind") != KIND:
        raise FileError(f"{path} does not hold a training; remove it, or pass another folder as out")
    saved, current = header["asked"], json.loads(json.dumps(dict(fingerprint)))
    ignored = (*ENDS, *(() if "frozen" in header else ADDED))
    keys = [key for key in dict.fromkeys((*current, *saved)) if key not in ignored]
    if changed := [key for key in keys if saved.get(key) != current.get(key)]:
        text = "; ".join(f"{key} was {_show(key, saved)}, is {_show(key, current)}" for key in changed[:3])
        text = f"{path} is of another training: {text}; pass another folder as out, or resume=False"
        if STEPPED.intersection(changed):
            text += ". If this training has changed them, make a new model, optimizer and scheduler, as at its start"
        raise ArgumentError(text)
    if len(header["rows"]) > current["epochs"]:
        raise ArgumentError(
            f"epochs={current['epochs']}: {path} has {len(header['rows'])} epochs already; pass at least as many, another "
            "folder as out, or resume=False"
        )
    return State(header, tensors)


@contextmanager
def fork_rng(device: torch.device) -> Iterator[None]:
    """Restore the random generators of torch, NumPy and Python after the block."""
    python_state, numpy_state = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(python_state)
            numpy.random.set_state(numpy_state)
