"""Plots, drawn with matplotlib's object interface: no window and no global state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

TRAIN, VAL = "#1f77b4", "#d62728"
LARGEST = 30  # inches


def save_curves(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Save a plot of loss, accuracy, AUC and learning rate against the epoch; of RMSE and R2 for regression."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    metrics = ("rmse", "r2") if rows and "rmse" in rows[0] else ("accuracy", "auc")
    for axes, name in zip(figure.subplots(2, 2).flat, ("loss", *metrics, "lr"), strict=True):
        for key, label, colour in ((name, "training", TRAIN), (f"val_{name}", "validation", VAL)):
            if all(key in row for row in rows):
                axes.plot(epochs, [row[key] for row in rows], label=label, color=colour, marker="." if len(rows) < 50 else "")
        axes.set(xlabel="epoch", title={"lr": "learning rate", "auc": "AUC", "rmse": "RMSE", "r2": "R2"}.get(name, name))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if name != "lr":
            axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def _literal(name: str) -> str:
    """Return a name as matplotlib's text: a "$" begins no formula, and a "_" at the start does not hide it from the legend.

    A "?" stands for what UTF-8 cannot hold, which matplotlib refuses: part of the name of a folder.
    """
    text = name.encode(errors="replace").decode().replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


@contextmanager
def _unit_square(
    path: Path,
    *,
    x: str,
    y: str,
    title: str,
    top: float = 1.01,
    diagonal: bool = True,
    legend: Literal["best", "lower right"] = "best",
) -> Iterator[Any]:
    """Yield axes from 0 to 1 to draw on, with a diagonal if `diagonal`; save the figure afterwards."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes = figure.subplots()
    if diagonal:
        axes.plot((0, 1), (0, 1), color="0.6", linestyle="--", linewidth=1)
    yield axes
    axes.set(xlabel=x, ylabel=y, title=title, xlim=(0, 1), ylim=(0, top), aspect="equal")
    axes.grid(alpha=0.3)
    if 0 < len(axes.get_legend_handles_labels()[1]) <= 10:
        axes.legend(loc=legend, frameon=False)
    figure.savefig(path, dpi=120)


def save_roc(curves: Sequence[tuple[str, Tensor, Tensor, float]], path: Path) -> None:
    """Save a plot of ROC curves; each is (label, false positive rate, true positive rate, area)."""
    with _unit_square(path, x="false positive rate", y="true positive rate", title="ROC", legend="lower right") as axes:
        for label, false, true, area in curves:
            axes.plot(false.numpy(), true.numpy(), label=f"{_literal(label)} (AUC {area:.3f})")


def save_precision_recall(curves: Sequence[tuple[str, Tensor, Tensor, float]], path: Path) -> None:
    """Save a plot of precision-recall curves; each is (label, recall, precision, average precision)."""
    with _unit_square(path, x="recall", y="precision", title="Precision and recall", diagonal=False) as axes:
        for label, recall, precision, area in curves:
            text = f"{_literal(label)} (average precision {area:.3f})"
            axes.plot(recall.numpy(), precision.numpy(), label=text, drawstyle="steps-post")


def save_calibration(bins: Sequence[tuple[float, float, int]], error: float, path: Path) -> None:
    """Save a plot of accuracy against confidence; each bin is (mean confidence, accuracy, number of images)."""
    title = f"Calibration (error {error:.3f}; number of images at each bin)"
    with _unit_square(path, x="confidence", y="accuracy", title=title, top=1.05) as axes:
        axes.plot([x for x, _, _ in bins], [y for _, y, _ in bins], marker="o", color=TRAIN)
        for x, y, count in bins:
            axes.annotate(str(count), (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8, color="0.3")


def save_confusion(confusion: Tensor, names: Sequence[str], path: Path) -> None:
    """Save a plot of a confusion matrix (num_classes, num_classes): rows are true classes, columns are predictions."""
    from matplotlib.figure import Figure

    side = min(max(4.5, 0.5 * len(names) + 2), LARGEST)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow((confusion / confusion.sum(1, keepdim=True).clamp(min=1)).numpy(), cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(names))
    texts = [_literal(name) for name in names]
    if side < LARGEST:  # otherwise the names would overlap; the axes show class indices
        axes.set_xticks(ticks, texts, rotation=45, ha="right")
        axes.set_yticks(ticks, texts)
    axes.set(xlabel="prediction", ylabel="truth", title="confusion matrix")
    if len(names) <= 20:
        for row in ticks:
            for column in ticks:
                count, total = int(confusion[row, column]), max(1, int(confusion[row].sum()))
                axes.text(column, row, str(count), ha="center", va="center", color="white" if count > total / 2 else "black")
    figure.savefig(path, dpi=120)
