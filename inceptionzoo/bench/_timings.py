"""The result of a benchmark: as a table, JSON or a plot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import check_path
from ..spec import Size, format_size
from ._machine import Machine

NO_RATIOS = "the machine is busy: no ratios are shown; stop other programs and measure again"


@dataclass(frozen=True, slots=True)
class Row:
    """The timing of one runner, for example "fused" or "timm", or of one layer, with one model and batch size.

    - `model`: its name, or the path or reference that `bench` was given.
    - `size`: the side of the images in pixels, or all sides if they differ. `batch`: the batch size, 0 for loading.
    - `median`, `low`, `high`: median and quartiles of the time in milliseconds.
    - `ratio`: time divided by the reference's, as (median, lower quartile, upper quartile); None on a busy machine.
    - `apart`: the largest difference of the outputs, relative to the largest output.
    - `share`: multiply-adds per second, counted as for direct convolutions, divided by those of a matrix product.
    - `memory`: the peak memory in MiB, beyond what the process used before.
    - `labels`: the share of images whose label is that of the float32 model.

    The last four are None if they were not measured.
    """

    model: str
    size: Size
    batch: int
    runner: str
    median: float
    low: float
    high: float
    ratio: tuple[float, float, float] | None
    apart: float | None = None
    share: float | None = None
    memory: float | None = None
    labels: float | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """The result of `bench`: a row for each model, batch size and runner. `str(timings)` is a table.

    `peak` is the rate of a float32 matrix product in multiply-adds per second, whatever the `precision`.
    """

    machine: Machine
    peak: float
    rounds: int
    precision: str
    rows: list[Row]

    def __str__(self) -> str:
        machine = self.machine
        conditions = (
            f"{machine.processor}, {machine.cores} cores, {machine.threads} threads, {machine.device}; "
            f"other processes used {machine.load:.2f} cores; GEMM {2 * self.peak / 1e9:.0f} GFLOP/s; "
            f"{self.rounds} rounds; {self.precision}"
        )
        versions = ", ".join(f"{package} {version}" for package, version in machine.versions.items())
        return "\n".join([conditions, versions, NO_RATIOS if machine.busy else "", *self._lines()])

    def _lines(self) -> Iterator[str]:
        models, runners = [row.model for row in self.rows], [row.runner for row in self.rows]
        first, width = (max(least, *map(len, texts)) for least, texts in ((20, models), (27, runners)))
        line = f"{{:{first}}} {{:>10}} {{:>5}} {{:{width}}} {{:>8}} {{:>15}} {{:>18}} {{:>6}} {{:>5}} {{:>6}} {{:>6}}".format
        yield line("model", "px", "batch", "runner", "ms", "quartiles", "time ratio", "error", "peak", "MiB", "labels")
        for row in self.rows:
            ratio = "-" if row.ratio is None else "{:.2f} ({:.2f}-{:.2f})".format(*row.ratio)
            digits = ".1f" if row.median >= 10 else ".2f"
            times = f"{row.median:{digits}}", f"{row.low:{digits}}-{row.high:{digits}}", ratio
            optional = ((row.apart, ".0e"), (row.share, ".0%"), (row.memory, ".0f"), (row.labels, ".1%"))
            cells = ("-" if value is None else format(value, spec) for value, spec in optional)
            yield line(row.model, format_size(row.size), row.batch or "-", row.runner, *times, *cells)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain dicts, lists, numbers and strings."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), default=dict))
        return values

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Plot the medians as bars, one panel for each model and batch size, and save the figure.

        Raises:
            OSError: the file cannot be written.
        """
        from matplotlib.figure import Figure

        target = check_path("path", path)
        panels = list(dict.fromkeys((row.model, row.size, row.batch) for row in self.rows))
        figure = Figure(figsize=(8, 0.6 + 0.3 * len(self.rows) + 0.6 * len(panels)), layout="constrained")
        heights = [sum((row.model, row.size, row.batch) == panel for row in self.rows) + 1 for panel in panels]
        for axes, panel in zip(figure.subplots(len(panels), height_ratios=heights, squeeze=False).flat, panels, strict=True):
            rows = [row for row in self.rows if (row.model, row.size, row.batch) == panel][::-1]
            colours = ["#1f77b4" if _is_own(row.runner) else "0.7" for row in rows]
            axes.barh([row.runner for row in rows], [row.median for row in rows], color=colours)
            batch = f", batch {panel[2]}" if panel[2] else ""
            axes.set(title=f"{panel[0]}, {format_size(panel[1])} px{batch}", xlabel="milliseconds")
            axes.bar_label(axes.containers[0], fmt="%.1f", padding=3, fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(target, dpi=120)


def _is_own(runner: str) -> bool:
    """Return whether this library does the work."""
    return runner.startswith(("inceptionzoo", "fused"))
