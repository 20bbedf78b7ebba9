"""What was measured: as a table, JSON, a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import check_path
from ._measure import Machine

NO_RATIOS = "the machine is busy: times are shown and no ratios; end what else is running, and measure again"


@dataclass(frozen=True, slots=True)
class Row:
    """One way of doing one job: median milliseconds, their quartiles, and how far its outputs are from ours.

    `share` is the direct convolutions' arithmetic over the GEMM's in that time, `memory` the most MiB beyond what was there
    before; None where they are not measured.
    """

    model: str
    size: int
    batch: int
    runner: str
    median: float
    low: float
    high: float
    ratio: tuple[float, float, float] | None
    apart: float | None = None
    share: float | None = None
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """What `bench` measured, a row for each model, batch and way of doing it.

    `peak` is the multiply-adds a second of float32 matrices, whatever the `precision` of the jobs.
    """

    machine: Machine
    peak: float
    rounds: int
    precision: str
    rows: list[Row]

    def __str__(self) -> str:
        told = self.machine
        head = (
            f"{told.processor}, {told.cores} cores, {told.threads} threads, {told.device}; "
            f"others took {told.load:.2f} cores; GEMM {2 * self.peak / 1e9:.0f} GFLOP/s; {self.rounds} rounds; "
            f"{self.precision}\n" + ", ".join(f"{name} {number}" for name, number in told.versions.items())
        )
        return "\n".join([head, "" if not told.busy else NO_RATIOS, *self._lines()])

    def _lines(self) -> Iterator[str]:
        line = "{:20} {:>4} {:>5} {:27} {:>8} {:>15} {:>18} {:>6} {:>5} {:>6}".format
        yield line("model", "px", "batch", "by", "ms", "quartiles", "slower than ours", "apart", "peak", "MiB")
        for row in self.rows:
            spread = "-" if row.ratio is None else "{:.2f} ({:.2f}-{:.2f})".format(*row.ratio)
            times = f"{row.median:.1f}", f"{row.low:.1f}-{row.high:.1f}", spread
            rest = ((row.apart, ".0e"), (row.share, ".0%"), (row.memory, ".0f"))
            cells = ("-" if value is None else format(value, how) for value, how in rest)
            yield line(row.model, row.size, row.batch or "-", row.runner, *times, *cells)

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
            colours = ["#1f77b4" if _ours(row.runner) else "0.7" for row in rows]
            axes.barh([row.runner for row in rows], [row.median for row in rows], color=colours)
            batch = f", batch {panel[2]}" if panel[2] else ""
            axes.set(title=f"{panel[0]}, {panel[1]} px{batch}", xlabel="milliseconds")
            axes.bar_label(axes.containers[0], fmt="%.1f", padding=3, fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(target, dpi=120)


def _ours(runner: str) -> bool:
    return runner.startswith(("inceptionzoo", "fused"))
