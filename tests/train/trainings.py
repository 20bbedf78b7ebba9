"""A small training in processes of its own: killed, faulty, on several ranks, as torchrun would start them."""

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
from inceptionzoo.evaluation import _distributed as ranks
from inceptionzoo.weights._safetensors import read_safetensors

EPOCHS, IMAGES, BATCH = 4, 25, 4
NETWORK = {"conv1": iz.Conv(6, 3, 2), "block": iz.inception(3, 3, 4, 2, 3, 2)}
GRACE = 20.0  # seconds in which the ranks end once one of them has failed, before they are ended, as torchrun does
CONTEXT = multiprocessing.get_context("forkserver")


def launch(task: Callable[..., None], *arguments: Any, world: int = 1, timeout: float = 120) -> list[int | None]:
    """Run `task` in `world` processes that know of each other; return how each ended: None for one that had to be ended."""
    CONTEXT.set_forkserver_preload(["inceptionzoo", "torchmetrics.functional", "tqdm", "trainings"])
    port = free_port()
    ranks_ = [CONTEXT.Process(target=_child, args=(task, arguments, rank, world, port)) for rank in range(world)]
    for process in ranks_:
        process.start()
    end, ended = time.monotonic() + timeout, set()
    while time.monotonic() < end and any(process.is_alive() for process in ranks_):
        time.sleep(0.02)
        if any(process.exitcode for process in ranks_):
            end = min(end, time.monotonic() + GRACE)
    for process in ranks_:
        if process.is_alive():
            ended.add(process.pid)
            process.kill()
        process.join()
    return [None if process.pid in ended else process.exitcode for process in ranks_]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _child(task: Callable[..., None], arguments: tuple[Any, ...], rank: int, world: int, port: int) -> None:
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # tracebacks that the test asks for
    if world > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks.TIMEOUT = timedelta(seconds=5)
    task(*arguments)


class Images(TensorDataset):
    """Noise whose class shows as brightness, augmented by every generator there is; `at` is called with the images read."""

    def __init__(self, at: Callable[[int], None]) -> None:
        targets = torch.arange(IMAGES) % 2
        noise = torch.randn(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        super().__init__(noise + targets[:, None, None, None], targets)
        self.at, self.seen = at, 0

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += 1
        self.at(self.seen)
        image, target = super().__getitem__(index)
        return image + 0.1 * torch.randn(3, 8, 8) + random.random() + numpy.random.rand(), target


def train(out: Path, at: Callable[[int], None] = lambda seen: None, **options: Any) -> iz.History:
    """Train the small network; every random generator starts where it always does."""
    iz.register_model("tiny", iz.network(NETWORK), num_classes=2, input_size=(3, 8, 8))
    torch.manual_seed(3)
    random.seed(9)
    numpy.random.seed(9)
    model = iz.create_model("tiny", drop_rate=0.3)
    images = Images(at)
    loader = DataLoader(images, BATCH, shuffle=True, generator=torch.Generator().manual_seed(5))
    val = DataLoader(TensorDataset(*images.tensors), 8)
    settings = {"lr": 0.05, "ema": 0.9, "accumulate": 2, "seed": 11, "monitor": "loss", **options}
    history = iz.fit(model, loader, val, epochs=EPOCHS, out=out, **settings)
    if int(os.environ.get("RANK", "0")) == 0:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history.epochs]
        torch.save([model.state_dict(), rows], out / "done.pt")
    return history


def train_and_be_killed(out: Path, step: int, rank: int) -> None:
    """Train, and be killed when image `step` is read, on that rank."""
    own = int(os.environ.get("RANK", "0")) == rank

    def at(seen: int) -> None:
        if own and seen == step:
            os.kill(os.getpid(), signal.SIGKILL)

    train(out, at)


def train_with_a_fault(out: Path, fault: str, rank: int) -> None:
    """Train, and in the third epoch go wrong on one rank: kill, raise, hang, early exit, nan."""
    own = int(os.environ.get("RANK", "0")) == rank

    def at(seen: int) -> None:
        if own and seen == 2 * IMAGES // int(os.environ.get("WORLD_SIZE", "1")) + 6:
            act(fault)

    def act(fault: str) -> None:
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "raise":
            raise OSError("the disk is gone")
        if fault == "hang":
            time.sleep(600)
        if fault == "early exit":
            os._exit(0)
        if fault == "nan":
            torch.randn = lambda *_: torch.tensor(float("nan"))  # what the images are augmented by

    train(out, at)


def outcome(out: Path) -> tuple[object, ...]:
    """Everything that a training leaves: weights, rows, the best and the last file's tensors, the lines of the table."""
    state, rows = torch.load(out / "done.pt", weights_only=True)
    files = [read_safetensors(out / f"{name}.safetensors")[0] for name in ("best", "last")]
    bits = [{key: value.numpy().tobytes() for key, value in tensors.items()} for tensors in (state, *files)]
    lines = [line.rpartition(",")[0] for line in (out / "history.csv").read_text().splitlines()]
    return bits, rows, lines
