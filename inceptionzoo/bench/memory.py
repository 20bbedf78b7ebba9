"""Peak memory of a benchmark, measured in a subprocess: `python -m inceptionzoo.bench.memory`. Linux only."""

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

from ..weights import with_tuples
from ..zoo import create_model
from ._runners import loading_runners, training_networks, training_step

MALLOC_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc then returns freed memory at once: only memory in use counts
PROC_STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure_in_subprocess(**arguments: Any) -> float | None:
    """Return `measure(**arguments)` in MiB, run in a subprocess.

    Return None if the system does not report peak memory, or, with a warning, if the subprocess fails.
    """
    if not CLEAR_REFS.exists():
        return None
    command = [sys.executable, "-m", "inceptionzoo.bench.memory", json.dumps(arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **MALLOC_SETTINGS})
    if process.returncode:
        error = (process.stderr.splitlines() or ["no message"])[-1]
        warnings.warn(f"bench: the memory of {arguments['runner']} is unknown: its process failed with {error}", stacklevel=2)
        return None
    return float(process.stdout.split()[-1])


def measure(
    *,
    model: str,
    options: dict[str, Any] | None = None,
    runner: str,
    threads: int,
    with_peers: bool,
    folder: str | None = None,
    shape: list[int] | None = None,
    precision: str = "fp32",
) -> float:
    """Return the peak memory of a runner in this process, in MiB. `options` are the arguments of the model, as JSON has them.

    With `folder`, the runner loads a model from the files in it. Otherwise it does two training steps on images of `shape`
    (n, c, h, w), and the second is measured: the first loads libraries, compiles code, and allocates the optimizer's state.
    """
    torch.set_num_threads(threads)
    meta_model = create_model(model, device="meta", **with_tuples(options or {}))
    if folder is not None:
        return peak(loading_runners(meta_model, Path(folder), with_peers=with_peers)[runner])
    assert shape is not None
    net = training_networks(meta_model, with_peers=with_peers)[runner]()
    step = training_step(net, torch.randn(shape), precision)
    step()
    return peak(step)


def peak(call: Callable[[], object]) -> float:
    """Return the largest growth of this process's memory during a call, in MiB. Linux only."""
    CLEAR_REFS.write_text("5")  # resets VmHWM, the peak, to the present size
    before = _read_kib("VmRSS")
    result = call()
    del result
    return (_read_kib("VmHWM") - before) / 1024


def _read_kib(name: str) -> int:
    (line,) = (line for line in PROC_STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    print(measure(**json.loads(sys.argv[1])))  # noqa: T201  # read by measure_in_subprocess
