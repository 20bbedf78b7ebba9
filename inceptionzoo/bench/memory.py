"""The most memory that a job takes, measured in a process of its own: `python -m inceptionzoo.bench.memory`, on Linux."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..zoo import create_model
from ._jobs import loads, train_networks, train_step

WHOLE = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc gives a freed map back at once: what is measured is in use
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def in_its_own_process(**asked: Any) -> float | None:
    """Return the MiB that a job takes over what its process had before; None where this system does not say, or it fails.

    Holes that the C library would keep between the maps in use, for speed, are not counted.

    `asked` has what `measured` takes.
    """
    if not CLEAR.exists():
        return None
    command = [sys.executable, "-m", "inceptionzoo.bench.memory", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **WHOLE})
    if done.returncode:
        said = (done.stderr.splitlines() or ["nothing"])[-1]
        warnings.warn(f"bench: no memory of {asked['runner']}: a process of its own ended with {said}", stacklevel=2)
        return None
    return float(done.stdout.split()[-1])


def measured(
    *,
    model: str,
    runner: str,
    threads: int,
    peers: bool,
    folder: str | None = None,
    shape: list[int] | None = None,
    precision: str = "fp32",
) -> float:
    """Return the MiB that a job of this process takes: making a model of files in `folder`, or two steps on images."""
    torch.set_num_threads(threads)
    if folder is not None:
        small = create_model(model, device="meta")
        return peak(loads(small, Path(folder), peers=peers)[runner])
    assert shape is not None
    net = train_networks(create_model(model, device="meta"), peers=peers)[runner]()
    step = train_step(net, torch.randn(shape), precision)
    return peak(lambda: (step(), step()))


def peak(call: Callable[[], object]) -> float:
    """Return by how many MiB the process was larger at most, while it called."""
    CLEAR.write_text("5")  # the high-water mark is the present size
    before = _kibibytes("VmRSS")
    kept = call()
    del kept
    return (_kibibytes("VmHWM") - before) / 1024


def _kibibytes(name: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    print(measured(**json.loads(sys.argv[1])))  # noqa: T201  # to the process that asked
