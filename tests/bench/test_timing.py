"""Timing calls in turn, ratios and quartiles, and the load of the machine. No test asserts a time."""

import pytest
import torch

from inceptionzoo.bench import _machine as machine
from inceptionzoo.bench import _timing as timing


def test_calls_run_in_turn():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = timing.time_interleaved(calls, 4, torch.device("cpu"))
    assert order == list("aabbcc") * (timing.WARM_UP + 4)
    assert {name: len(seconds) for name, seconds in times.items()} == dict.fromkeys("abc", 4)


def test_ratios_are_taken_round_by_round():
    median, low, high = timing.time_ratio([2.0, 20.0, 6.0], [1.0, 10.0, 2.0])
    assert (median, low, high) == (2.0, 2.0, 3.0)
    assert timing.time_ratio([3.0], [2.0]) == (1.5, 1.5, 1.5)


def test_quartiles_of_two_rounds_lie_between_them():
    assert timing.quartiles([1.0, 9.0]) == (1.0, 5.0, 9.0)
    assert timing.quartiles([3.0]) == (3.0, 3.0, 3.0)


def test_background_load(monkeypatch):
    ticks = iter([1000, 1000 + machine.os.sysconf("SC_CLK_TCK") // 5])
    monkeypatch.setattr(machine, "_cpu_ticks", lambda: next(ticks))
    assert machine.background_load(0.1) == pytest.approx(2.0)
    monkeypatch.setattr(machine, "_cpu_ticks", lambda: None)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (0.7, 0.1, 0.1))
    assert machine.background_load(0.1) == 0.7  # without /proc/stat: the load average of the last minute
