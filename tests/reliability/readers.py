"""Files that change while they are read, and after they were read."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from figure import Figure
from isolated import ERRORS, collect, fork, isolated, same_bits, wait, work
from small import shaken, tiny_at
from torch import Tensor

import inceptionzoo as iz

ZERO = ("load failed", "mixed weights", "changed by a later truncation")
READERS = 2
Found = Iterator[tuple[str, object]]


def readers_beside_writers(loads: int, saves: int) -> Figure:
    """Load `loads` times while another process saves the weights of two models in turn (figure 9)."""
    figure = Figure("readers during saves", (*ERRORS, *ZERO))
    figure.reached = ("loads", "loads while the file was replaced", "saves", "unchanged after a truncation in place")
    with tiny_at("w.safetensors") as path:
        models = [shaken(iz.create_model("tiny").eval(), seed) for seed in (1, 2)]
        iz.save_weights(models[0], path)
        _beside(figure, models, path, loads, saves)
        isolated(figure, lambda number: _truncated(models[0], path, number), 4 * len(FUNCTIONS))
    return figure


def _beside(figure: Figure, models: list[iz.Net], path: Path, loads: int, saves: int) -> None:
    """Load in two processes and save in a third, which saves once for every `loads / saves` loads."""
    states = [model.state_dict() for model in models]
    counts = memoryview(mmap.mmap(-1, 8 * (READERS + 1))).cast("q")
    reader = iz.create_model("tiny")

    def load(number: int) -> Found:
        counts[number % READERS] += 1
        before = path.stat().st_ino
        yield "loads", ""
        try:
            model = iz.load_model(path) if number % 20 < READERS else reader
            if model is reader:
                iz.load_weights(reader, path)
        except BaseException as error:
            yield "load failed", repr(error)
        else:
            if not any(same_bits(model.state_dict(), state) for state in states):
                yield "mixed weights", ""
        if path.stat().st_ino != before:
            yield "loads while the file was replaced", ""

    def save() -> None:
        for number in range(saves):
            while sum(counts[:READERS]) < number * loads // saves:
                time.sleep(1e-4)
            iz.save_weights(models[number % 2], path)
            counts[READERS] += 1

    logs = [path.with_name(f"reader{first}") for first in range(READERS)]
    children = []
    for first, log in enumerate(logs):
        log.touch()
        children.append(fork(lambda first=first, log=log: work(load, range(first, loads, READERS), log)))
    writer = fork(save)
    for child, log in zip(children, logs, strict=True):
        died = wait(child)
        collect(figure, log.read_bytes().splitlines())
        if died:
            figure.add(ERRORS[0], f"a reader: {signal.Signals(died).name}")
            counts[0] += loads  # so that the writer does not wait
    wait(writer)
    figure.counts["saves"] += counts[READERS]


def _read(path: Path) -> iz.Net:
    model = iz.create_model("tiny")
    iz.load_weights(model, path)
    return model


FUNCTIONS: dict[str, Callable[[Path], iz.Net]] = {
    "load_weights": _read,
    "load_model": iz.load_model,
    "create_model": lambda path: iz.create_model("tiny", weights=path),
    "load_weights of a .pth": _read,
    "create_model of a .pth": lambda path: iz.create_model("tiny", weights=path),
}


def _truncated(model: iz.Net, path: Path, number: int) -> Found:
    """Load a file, then truncate or overwrite it in place; yield whether the loaded model is unchanged."""
    function = list(FUNCTIONS)[number // 4]
    wanted: dict[str, Tensor] = {key: value.clone() for key, value in model.state_dict().items()}
    if function.endswith(".pth"):
        path = path.with_suffix(".pth")
        torch.save(wanted, path)
    else:
        iz.save_weights(model, path)
    loaded, size = FUNCTIONS[function](path).eval(), path.stat().st_size
    with open(path, "r+b") as stream:
        stream.truncate((0, size // 2, size - 1, size)[number % 4])
        if number % 4 == 3:
            stream.write(os.urandom(size))
    loaded(torch.ones(1, 3, 8, 8))
    same = same_bits(loaded.state_dict(), wanted)
    yield ("unchanged after a truncation in place" if same else "changed by a later truncation"), function
