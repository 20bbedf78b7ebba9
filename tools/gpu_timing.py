"""Time calls on a GPU in turn, within a budget of time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

WARM_UP = 3  # calls of a candidate before it is timed


@dataclass(slots=True)
class Budget:
    """The time until `deadline`, of `time.monotonic()`, and the names of the parts that were skipped for lack of it.

    `longest` is the time in seconds of the longest part so far. A part is skipped if no more than that is left.
    """

    deadline: float
    skipped: list[str] = field(default_factory=list)
    longest: float = 0.0

    @classmethod
    def of(cls, seconds: float) -> Budget:
        """Return a budget of `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until the deadline, 0 after it."""
        return max(0.0, self.deadline - time.monotonic())

    def section(self, share: float) -> Budget:
        """Return a budget of a share of the time that is left. Its skipped parts are listed here."""
        return Budget(time.monotonic() + share * self.left, self.skipped)

    def run(self, name: str, part: Callable[[], object]) -> None:
        """Run a part if there is time for it; if not, note its name."""
        if self.left <= self.longest:
            self.skipped.append(name)
            return
        start = time.monotonic()
        part()
        self.longest = max(self.longest, time.monotonic() - start)


def time_in_turn(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, least: float = 0.02
) -> dict[str, list[float]]:
    """Return the seconds per call of each candidate in each round.

    In a round all candidates are timed, one after the other, in every second round in the reverse order. Each is called as
    often as `least` seconds allow, at least once, and the device is waited for after its last call only.
    """
    counts = {}
    for name, call in calls.items():
        _seconds_per_call(call, WARM_UP, device)
        counts[name] = max(1, math.ceil(least / _seconds_per_call(call, 1, device)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds):
        for name in list(calls)[:: -1 if index % 2 else 1]:
            times[name].append(_seconds_per_call(calls[name], counts[name], device))
    return times


def _seconds_per_call(call: Callable[[], object], count: int, device: torch.device) -> float:
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(count):
        call()
    _synchronize(device)
    return (time.perf_counter() - start) / count


def _synchronize(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
