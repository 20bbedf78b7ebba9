"""Times of calls that take turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

WARM_UP = 3  # rounds before the first that counts
PAUSE = 0.02  # seconds before each call: threads of the one before stop waiting for more work by then
BUSY = 0.5  # of a core that something else takes, above which no ratio is given


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures were measured on."""

    processor: str
    cores: int
    threads: int
    device: str
    load: float
    versions: Mapping[str, str]

    @property
    def busy(self) -> bool:
        """Whether something else was running."""
        return self.load > BUSY


def machine(device: torch.device, load: float, versions: Mapping[str, str]) -> Machine:
    """Return what this is; `load` is how much of it something else took."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Machine(_processor(), os.cpu_count() or 1, torch.get_num_threads(), gpu, load, versions)


def load(seconds: float = 1.0) -> float:
    """Return how many cores others keep busy in the next `seconds`; the last minute's load where the system says no more."""
    before = _ticks()
    if before is None:
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.inf
    time.sleep(seconds)
    after = _ticks()
    assert after is not None
    return (after - before) / os.sysconf("SC_CLK_TCK") / seconds


def _ticks() -> int | None:
    """Return the ticks that all processes together have run: user, nice and system time."""
    try:
        words = Path("/proc/stat").read_text().split()
    except OSError:
        return None
    return sum(map(int, words[1:4]))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def take_turns(calls: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each call in each round; every round calls each twice, and times the second time."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(WARM_UP + rounds):
        for name, call in calls.items():
            time.sleep(PAUSE)
            _finish(call, device)
            start = time.perf_counter()
            _finish(call, device)
            if turn >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


def _finish(call: Callable[[], object], device: torch.device) -> None:
    call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def ratio(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
    """Return how many times faster `ours` is, round by round: median, lower and upper quartile."""
    low, middle, high = quartiles([other / own for other, own in zip(theirs, ours, strict=True)])
    return middle, low, high


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile, none of them beyond the values themselves."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4)
    return max(low, min(values)), middle, min(high, max(values))


def gemm_peak(device: torch.device, size: int = 2048, rounds: int = 5) -> float:
    """Return the rate of a large product of float32 matrices, in multiply-adds per second: what a convolution is held to."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    times = take_turns({"gemm": lambda: a @ b}, rounds, device)["gemm"]
    return float(size**3 / min(times))


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference over the largest value."""
    return float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max())
