"""A small training in child processes, on one rank or several: uninterrupted, killed, or with a fault on one rank."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy
import torch
from torch.utils.data import DataLoader, TensorDataset

import inceptionzoo as iz
from inceptionzoo.evaluation import _distributed
from inceptionzoo.weights._safetensors import read_safetensors

EPOCHS, IMAGES, BATCH = 4, 25, 4
NETWORK = {"conv1": iz.Conv(6, 3, 2), "block": iz.inception(3, 3, 4, 2, 3, 2)}
GRACE = 20.0  # seconds between the failure of one rank and the kill of the others
CONTEXT = multiprocessing.get_context("forkserver")


def launch(task: Callable[..., None], *arguments: Any, world: int = 1, timeout: float = 120) -> list[int | None]:
    """Run `task` on `world` ranks and return the exit code of each, None for a rank that had to be killed."""
    CONTEXT.set_forkserver_preload(["inceptionzoo", "torchmetrics.functional", "tqdm", "trainings"])
    port = free_port()
    processes = [CONTEXT.Process(target=_child, args=(task, arguments, rank, world, port)) for rank in range(world)]
    for process in processes:
        process.start()
    deadline, killed = time.monotonic() + timeout, set()
    while time.monotonic() < deadline and any(process.is_alive() for process in processes):
        time.sleep(0.02)
        if any(process.exitcode for process in processes):
            deadline = min(deadline, time.monotonic() + GRACE)
    for process in processes:
        if process.is_alive():
            killed.add(process.pid)
            process.kill()
        process.join()
    return [None if process.pid in killed else process.exitcode for process in processes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _child(task: Callable[..., None], arguments: tuple[Any, ...], rank: int, world: int, port: int) -> None:
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the tests expect tracebacks
    if world > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        _distributed.TIMEOUT = timedelta(seconds=5)
    task(*arguments)


class Images(TensorDataset):
    """Noise whose brightness depends on the class, augmented by all generators; `on_read` gets the number of images read."""

    def __init__(self, on_read: Callable[[int], None]) -> None:
        targets = torch.arange(IMAGES) % 2
        noise = torch.randn(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        super().__init__(noise + targets[:, None, None, None], targets)
        self.on_read, self.reads = on_read, 0

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.reads += 1
        self.on_read(self.reads)
        image, target = super().__getitem__(index)
        return image + 0.1 * torch.randn(3, 8, 8) + random.random() + numpy.random.rand(), target


def train(out: Path, on_read: Callable[[int], None] = lambda reads: None, **options: Any) -> iz.History:
    """Train the small network, with every random generator seeded."""
    iz.register_model("tiny", iz.network(NETWORK), num_classes=2, input_size=(3, 8, 8))
    torch.manual_seed(3)
    random.seed(9)
    numpy.random.seed(9)
    model = iz.create_model("tiny", drop_rate=0.3)
    images = Images(on_read)
    loader = DataLoader(images, BATCH, shuffle=True, generator=torch.Generator().manual_seed(5))
    val = DataLoader(TensorDataset(*images.tensors), 8)
    settings = {"lr": 0.05, "ema": 0.9, "accumulate": 2, "seed": 11, "monitor": "loss", **options}
    history = iz.fit(model, loader, val, epochs=EPOCHS, out=out, **settings)
    if int(os.environ.get("RANK", "0")) == 0:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history.epochs]
        torch.save([model.state_dict(), rows], out / "done.pt")
    return history


def train_and_be_killed(out: Path, step: int, rank: int) -> None:
    """Train, and kill this process on `rank` when its image number `step` is read."""
    faulty = int(os.environ.get("RANK", "0")) == rank

    def on_read(reads: int) -> None:
        if faulty and reads == step:
            os.kill(os.getpid(), signal.SIGKILL)

    train(out, on_read)


def train_with_a_fault(out: Path, fault: str, rank: int) -> None:
    """Train, with a fault on `rank` in the third epoch: kill, raise, hang, early exit or nan."""
    faulty = int(os.environ.get("RANK", "0")) == rank

    def on_read(reads: int) -> None:
        if faulty and reads == 2 * IMAGES // int(os.environ.get("WORLD_SIZE", "1")) + 6:
            commit(fault)

    def commit(fault: str) -> None:
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "raise":
            raise OSError("the disk is gone")
        if fault == "hang":
            time.sleep(600)
        if fault == "early exit":
            os._exit(0)
        if fault == "nan":
            torch.randn = lambda *_: torch.tensor(float("nan"))  # the images are augmented with it

    train(out, on_read)


def outcome(out: Path) -> tuple[object, ...]:
    """Return the outcome of a training: weights and rows, the tensors of its files, and the lines of history.csv."""
    state, rows = torch.load(out / "done.pt", weights_only=True)
    files = [read_safetensors(out / f"{name}.safetensors")[0] for name in ("best", "last")]
    bits = [{key: value.numpy().tobytes() for key, value in tensors.items()} for tensors in (state, *files)]
    lines = [line.rpartition(",")[0] for line in (out / "history.csv").read_text().splitlines()]
    return bits, rows, lines
