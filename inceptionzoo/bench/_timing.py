"""Time several calls in turn, so that a disturbance of the machine affects all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from tqdm import tqdm

WARM_UP = 3  # rounds before those that are timed
PAUSE = 0.1  # seconds before each call, in which the threads of the previous one stop spinning: ONNX Runtime spins for 50 ms


def time_interleaved(calls: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each call in each round. In a round each call runs twice, and the second run is timed.

    A terminal shows a progress bar.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index in tqdm(range(WARM_UP + rounds), "time", unit=" rounds", leave=False, disable=None):
        for name, call in calls.items():
            time.sleep(PAUSE)
            _run(call, device)
            start = time.perf_counter()
            _run(call, device)
            if index >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


def _run(call: Callable[[], object], device: torch.device) -> None:
    """Call, and wait until the device has finished."""
    call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def time_ratio(times: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Return times / reference, round by round: median, lower quartile, upper quartile."""
    low, median, high = quartiles([value / base for value, base in zip(times, reference, strict=True)])
    return median, low, high


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile, none of them outside the range of the values."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4)
    return max(low, min(values)), median, min(high, max(values))


def gemm_peak(device: torch.device, size: int = 2048, rounds: int = 5) -> float:
    """Return the multiply-adds per second of a large float32 matrix product, to compare convolutions with."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    times = time_interleaved({"gemm": lambda: a @ b}, rounds, device)["gemm"]
    return float(size**3 / min(times))


def relative_error(output: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference divided by the largest absolute expected value."""
    return float((output.float() - expected.float()).abs().max() / expected.float().abs().max())
