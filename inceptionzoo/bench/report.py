"""Measure models beside their peers and say so: a table, JSON, a picture."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from typing import Any

import torch

from ..cost import Shape
from ..errors import check_int, check_path
from ..factory import create_model
from ..net import Net
from ..network_cost import network_cost
from ..place import check_device
from ..registry import find
from .measure import Machine, apart, gemm_peak, load, machine, quartiles, ratio, take_turns
from .peers import OURS, Call, ours, peers

PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "openvino", "numba")


@dataclass(frozen=True, slots=True)
class Row:
    """One way of running one model: median milliseconds a batch, their quartiles, and how far its outputs are from ours."""

    model: str
    size: int
    batch: int
    runner: str
    median: float
    low: float
    high: float
    ratio: tuple[float, float, float] | None
    apart: float
    share: float


@dataclass(frozen=True, slots=True)
class Timings:
    """What `bench` measured, a row for each model, batch and way of running it; `peak` is the GEMM's multiply-adds a second."""

    machine: Machine
    peak: float
    rounds: int
    rows: list[Row]

    def __str__(self) -> str:
        told = self.machine
        head = (
            f"{told.processor}, {told.cores} cores, {told.threads} threads, {told.device}; "
            f"others took {told.load:.2f} cores; GEMM {2 * self.peak / 1e9:.0f} GFLOP/s; {self.rounds} rounds\n"
            + ", ".join(f"{name} {number}" for name, number in told.versions.items())
        )
        return "\n".join([head, "" if not told.busy else NO_RATIOS, *self._lines()])

    def _lines(self) -> Iterator[str]:
        line = "{:20} {:>4} {:>5} {:26} {:>8} {:>15} {:>18} {:>8} {:>5}".format
        yield line("model", "px", "batch", "by", "ms", "quartiles", "slower than ours", "apart", "peak")
        for row in self.rows:
            spread = "-" if row.ratio is None else "{:.2f} ({:.2f}-{:.2f})".format(*row.ratio)
            sizes = row.model, row.size, row.batch, row.runner
            yield line(
                *sizes, f"{row.median:.1f}", f"{row.low:.1f}-{row.high:.1f}", spread, f"{row.apart:.0e}", f"{row.share:.0%}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        told: dict[str, Any] = json.loads(json.dumps(asdict(self), default=dict))
        return told

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the medians as bars, a panel for each model and batch, and save the picture."""
        from matplotlib.figure import Figure

        target = check_path("path", path)
        panels = sorted({(row.model, row.size, row.batch) for row in self.rows})
        figure = Figure(figsize=(8, 0.6 + 0.3 * len(self.rows) + 0.6 * len(panels)), layout="constrained")
        heights = [sum((row.model, row.size, row.batch) == panel for row in self.rows) + 1 for panel in panels]
        for axes, panel in zip(figure.subplots(len(panels), height_ratios=heights, squeeze=False).flat, panels, strict=True):
            rows = [row for row in self.rows if (row.model, row.size, row.batch) == panel][::-1]
            colours = ["#1f77b4" if row.runner in OURS else "0.7" for row in rows]
            axes.barh([row.runner for row in rows], [row.median for row in rows], color=colours)
            axes.set(title=f"{panel[0]}, {panel[1]} px, batch {panel[2]}", xlabel="milliseconds a batch")
            axes.bar_label(axes.containers[0], fmt="%.1f", padding=3, fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(target, dpi=120)


NO_RATIOS = "the machine is busy: times are shown and no ratios; end what else is running, and measure again"


def bench(
    names: Sequence[str] = ("googlenet",),
    *,
    batches: Sequence[int] = (1, 8),
    size: int | None = None,
    rounds: int = 9,
    with_peers: bool = False,
    compiled: bool = True,
    device: str | torch.device | None = None,
) -> Timings:
    """Time the inference of models in float32, ours and with `with_peers` the peers', call by call in turn.

    `size` is the side of the images in pixels, the model's own where it is None. Ratios are to our fastest form, round by
    round.

    Raises:
        ArgumentError: an argument lies outside its range, or a model is unknown.
    """
    check_int("rounds", rounds, 1)
    if size is not None:
        check_int("size", size, 1)
    for batch in batches:
        check_int("batches", batch, 1)
    entries = [find(name) for name in names]
    place = check_device(device) or torch.device("cpu")
    rows: list[Row] = []
    peak, loads = gemm_peak(place), [load()]
    for entry in entries:
        model = create_model(entry.name).eval().to(place)
        for batch in batches:
            sizes = size or model.data.input_size[1], batch
            rows += _rows(model, *sizes, peak, rounds, with_peers=with_peers, compiled=compiled)
            loads.append(load())
    found = {name: number for name in PACKAGES if (number := _version(name))}
    timings = Timings(machine(place, max(loads), found), peak, rounds, rows)
    if timings.machine.busy:
        timings.rows[:] = [replace(row, ratio=None) for row in rows]
    return timings


def _rows(model: Net, side: int, batch: int, peak: float, rounds: int, *, with_peers: bool, compiled: bool) -> Iterator[Row]:
    """Yield a row for each way of running the model on a batch."""
    place = next(model.parameters()).device
    images = torch.randn(batch, model.in_chans, side, side, generator=torch.Generator().manual_seed(0)).to(place)
    forms: dict[str, Call] = dict(ours(model, compiled=compiled))
    if with_peers:
        forms |= dict(peers(model, images, compiled=compiled))
    with torch.inference_mode():
        expected = model(images)
        differences = {name: apart(call(images), expected) for name, call in forms.items()}
        times = take_turns({name: partial(call, images) for name, call in forms.items()}, rounds, place)
    best = min((name for name in OURS if name in times), key=lambda name: statistics.median(times[name]))
    assert model.entry is not None
    work = network_cost(model.network, Shape(model.in_chans, side, side), model.num_classes).macs * batch
    for name, seconds in times.items():
        low, median, high = quartiles(seconds)
        against = ratio(seconds, times[best])
        scale = 1000.0
        yield Row(
            model.entry.name, side, batch, name, median * scale, low * scale, high * scale, against, differences[name],
            work / median / peak,
        )  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
