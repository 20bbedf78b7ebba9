"""Damaged files of Keras: what h5py does with them in its own process, and that no caller is harmed."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import h5py
import torch
from figure import Figure
from isolated import same_bits
from raw_edits import flip
from small import MEMORY_DISK, registered, shaken, tiny_network

import inceptionzoo as iz
from inceptionzoo.spec import keras_layouts, numbered
from inceptionzoo.weights import _keras as keras
from inceptionzoo.weights import read_safetensors
from inceptionzoo.zoo._registry import REGISTRY

SECONDS = 3.0  # that a worker may take for a small file; `read_keras` allows more
WHOLE = 100  # one of so many mutants is loaded by `load_weights`, which starts a process for each
WORKER = """
import contextlib, io, sys
import _keras_reader as reader
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = reader.main(*line.rstrip("\\n").split("\\t"))
    print(status, len(said.getvalue()), flush=True)
"""


class Worker:
    """A process that reads one file after another with the reader, and is started again after it crashed."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target = folder / "mutant", folder / "weights.safetensors"
        self.process: subprocess.Popen[str] | None = None

    def read(self, data: bytes) -> str:
        """Return what happened to a file of these bytes."""
        self.source.write_bytes(data)
        self.target.unlink(missing_ok=True)
        if self.process is None:
            path = os.pathsep.join([str(keras.READER.parent), *sys.path])
            command, environment = [sys.executable, "-P", "-c", WORKER], os.environ | {"PYTHONPATH": path}
            self.process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-3, text=True, env=environment)
        process = self.process
        print(self.source, self.target, sep="\t", file=process.stdin, flush=True)
        if not select.select([process.stdout], [], [], SECONDS)[0]:
            return self._end("ended, as it took too long")
        answer = process.stdout.readline().split()
        if not answer:
            return self._end("the HDF5 library crashed")
        if answer[0] == "1":
            return "refused" if int(answer[1]) else "refused without a reason"
        try:
            read_safetensors(self.target)
        except iz.FileError:
            return "wrote a file that cannot be read"
        return "read"

    def _end(self, what: str) -> str:
        self.close()
        return what

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def malformed_keras(count: int) -> Figure:
    """Read `count` damaged files of Keras; load some of them into a model."""
    harms = ("error other than ZooError", "half-modified model", "refused without a reason")
    figure = Figure("malformed Keras files", (*harms, "wrote a file that cannot be read"), ("refused", "read", "load refused"))
    with tiny_with_layout() as model, tempfile.TemporaryDirectory(dir=MEMORY_DISK) as name:
        folder, originals = Path(name), written(model, Path(name))
        cores = os.cpu_count() or 1
        for index in range(cores):
            (folder / str(index)).mkdir()

        def run(index: int) -> list[tuple[str, int]]:
            worker = Worker(folder / str(index))
            try:
                return [(worker.read(mutant(originals, number)), number) for number in range(index, count, cores)]
            finally:
                worker.close()

        with ThreadPoolExecutor(cores) as pool:
            for results in pool.map(run, range(cores)):
                for what, number in results:
                    figure.add(what, f"mutant {number}")
        for number in range(0, count, WHOLE):
            figure.add(load(model, mutant(originals, number), folder / "whole.keras"), f"mutant {number}")
    return figure


@contextmanager
def tiny_with_layout() -> Iterator[iz.Net]:
    """Yield the model "tiny", which is registered with a layout of Keras inside the block."""
    layouts = keras_layouts(tiny_network(), numbered, dense=(("head.fc", "predictions"),))
    with registered("tiny", tiny_network, num_classes=3, input_size=(3, 8, 8)):
        REGISTRY["tiny"] = replace(REGISTRY["tiny"], layouts=layouts)
        yield shaken(iz.create_model("tiny"), 0)


def written(model: iz.Net, folder: Path) -> list[bytes]:
    """Return the model in the format of Keras 2, in that of Keras 3 and in a .keras archive."""
    legacy, new, archive = (folder / name for name in ("a.h5", "b.h5", "c.keras"))
    iz.export_weights(model, legacy, layout="keras")
    kinds = {"kernel:0": "0", "bias:0": "1", "gamma:0": "0", "beta:0": "1", "moving_mean:0": "2", "moving_variance:0": "3"}
    with h5py.File(legacy) as old, h5py.File(new, "w") as file:
        for layer in map(h5py_text, old.attrs["layer_names"]):
            group = file.create_group(f"layers/{layer}/vars")
            group.attrs["name"] = layer
            for name in map(h5py_text, old[layer].attrs["weight_names"]):
                group[kinds[name.rpartition("/")[2]]] = old[layer][name][()]
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("config.json", '{"config": {"layers": [{"class_name": "Conv2D", "config": {"name": "conv2d"}}]}}')
        file.writestr("model.weights.h5", new.read_bytes())
    return [path.read_bytes() for path in (legacy, new, archive)]


def h5py_text(value: bytes | str) -> str:
    """Return a text that h5py reads as bytes or as a str, depending on its version."""
    return value.decode() if isinstance(value, bytes) else value


def mutant(originals: list[bytes], number: int) -> bytes:
    """Return a damaged file; the same number gives the same bytes."""
    pick = Random(number)
    data = pick.choice(originals)
    for _ in range(pick.choice((1, 1, 1, 2, 8))):
        at, kind = pick.randrange(len(data)), pick.randrange(6)
        if kind < 3:
            data = flip(data, at, pick)
        elif kind == 3:
            data = data[:at] + pick.randbytes(pick.choice((1, 2, 4, 8))) + data[at + pick.choice((1, 2, 4, 8)) :]
        elif kind == 4:
            data = data[: max(1, at)] if pick.random() < 0.3 else data[:at] + bytes(8) + data[at + 8 :]
        else:
            data = data[:at] + b"\xff" * 8 + data[at + 8 :]
    return data


def load(model: iz.Net, data: bytes, path: Path) -> str:
    """Return what `load_weights` does with a file of these bytes."""
    path.write_bytes(data)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    try:
        iz.load_weights(model, path)
    except iz.ZooError:
        return "load refused" if same_bits(before, model.state_dict()) else "half-modified model"
    except Exception as error:
        return "error other than ZooError" if error else ""
    finally:
        with torch.no_grad():
            for key, value in model.state_dict().items():
                value.copy_(before[key])
    return "loaded"
