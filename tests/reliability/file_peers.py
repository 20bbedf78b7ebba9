"""The same faults with torch, safetensors and timm. The counts show what these libraries do; none has to be 0."""

from __future__ import annotations

import io
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import safetensors.torch as safe
import timm
import torch
from figure import Figure
from isolated import fork, same_bits, wait
from raw_edits import flip_in_payload
from small import shaken, tiny_at
from torch import Tensor, nn

import inceptionzoo as iz

State = Mapping[str, Tensor]


def peers_files(flips: int = 300, kills: int = 10, seed: int = 0) -> list[Figure]:
    """Return what other libraries do with flipped bits, wrong shapes and values, kills while saving, and later truncation."""
    pick = Random(seed)
    with warnings.catch_warnings(), tiny_at("peer.bin") as path:
        warnings.simplefilter("ignore")
        state = shaken(iz.create_model("tiny"), 1).state_dict()
        return [_flips(state, flips, pick), _faults(state, path), _kills(kills, pick), _truncation(state, path)]


def _flips(state: State, count: int, pick: Random) -> Figure:
    """Flip one bit: in the tensors of a .safetensors file, or anywhere in a .pth archive."""
    figure, stream = Figure("other libraries, one flipped bit", ()), io.BytesIO()
    torch.save(dict(state), stream)
    one, other = safe.save(dict(state)), stream.getvalue()
    functions: dict[str, tuple[bytes, int, Callable[[bytes], State]]] = {
        "safetensors.torch.load": (one, 8 + int.from_bytes(one[:8], "little"), safe.load),
        "torch.load": (other, 0, lambda data: torch.load(io.BytesIO(data), weights_only=True)),
    }
    for name, (data, end, load) in functions.items():
        for _ in range(count):
            try:
                same = same_bits(load(flip_in_payload(data, end, pick)), state)
                figure.add(f"{name}: loaded {'unchanged' if same else 'silently changed'}")
            except Exception:
                figure.add(f"{name}: refused")
    return figure


def _faults(state: State, path: Path) -> Figure:
    """Load a wrong shape and a NaN, in each tensor in turn."""
    figure = Figure("other libraries, one wrong tensor", ())
    functions: dict[str, tuple[Callable[[State], object], Callable[[nn.Module], object]]] = {
        "torch load_state_dict": (
            lambda wrong: torch.save(wrong, path),
            lambda model: model.load_state_dict(torch.load(path, weights_only=True)),
        ),
        "timm.models.load_checkpoint": (
            lambda wrong: torch.save(wrong, path),
            lambda model: timm.models.load_checkpoint(model, str(path)),
        ),
        "safetensors.torch.load_model": (
            lambda wrong: safe.save_file(wrong, path),
            lambda model: safe.load_model(model, path),
        ),
    }
    faults: dict[str, Callable[[Tensor], Tensor]] = {
        "shape": lambda value: torch.cat((value.reshape(-1), value.reshape(-1))),
        "NaN": lambda value: torch.full_like(value, float("nan")) if value.is_floating_point() else -value,
    }
    model = iz.create_model("tiny")
    for name, (save, load) in functions.items():
        for fault, change in faults.items():
            for key, value in state.items():
                before = {key: value.clone() for key, value in shaken(model, 2).state_dict().items()}
                save({**state, key: change(value)})
                try:
                    load(model)
                    figure.add(f"{name}, {fault}: accepted")
                except Exception:
                    same = same_bits(model.state_dict(), before)
                    figure.add(f"{name}, {fault}: refused, the model {'unchanged' if same else 'half changed'}")
    return figure


def _kills(kills: int, pick: Random) -> Figure:
    """Kill a process while it saves, and load the file."""
    figure, state = Figure("other libraries, killed while saving", ()), {"w": torch.zeros(600_000)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.bin"
        functions: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "torch.save": (lambda: torch.save(state, path), lambda: torch.load(path, weights_only=True)),
            "safetensors.torch.save_file": (lambda: safe.save_file(state, path), lambda: safe.load_file(path)),
        }
        for name, (save, load) in functions.items():
            for _ in range(kills):
                save()
                before = os.stat(path).st_mtime_ns
                child = fork(lambda save=save: [save() for _ in range(10**6)])
                while os.stat(path).st_mtime_ns == before:  # until the child has begun
                    time.sleep(0.001)
                time.sleep(pick.uniform(0, 0.05))
                os.kill(child, signal.SIGKILL)
                wait(child)
                try:
                    load()
                    figure.add(f"{name}: the file is complete")
                except Exception:
                    figure.add(f"{name}: the old file is lost")
            figure.counts[f"{name}: temporary files left"] = len(os.listdir(folder)) - 1
    return figure


def _truncation(state: State, path: Path) -> Figure:
    """Truncate a file after it was loaded, and use its tensors."""
    figure = Figure("other libraries, a later truncation", ())

    def use() -> None:
        safe.save_file(dict(state), path)
        loaded = safe.load_file(path)
        os.truncate(path, 0)
        sum(value.sum() for value in loaded.values())

    died = wait(fork(use))
    figure.add(f"safetensors.torch.load_file: {f'killed by {signal.Signals(died).name}' if died else 'alive'}")
    return figure
