"""The progress of a training: a bar of the epoch's batches on a terminal, and a line for each finished epoch."""

from __future__ import annotations

import sys
import time

from ..evaluation import Batches, EpochMetrics, length_or_none
from ._history import History, Row

UNLABELLED = ("epoch", "lr", "seconds")  # columns that are not metrics


class Progress:
    """A bar of batches with the mean loss of the epoch so far, and a line of all metrics at its end.

    With `show=None` the bar is shown on a terminal only, and the line everywhere. With `show=False` nothing is shown. The loss
    in the bar is that of this rank's images. Each update of the bar takes the same time, however many batches there were.
    """

    def __init__(self, epoch: int, epochs: int, loader: Batches, lr: float, show: bool | None, start: float) -> None:
        from tqdm import tqdm

        self.epoch, self.lr, self._start, self._show = epoch, lr, start, show
        self._title = f"epoch {epoch + 1}/{epochs}"
        disable = not (sys.stderr.isatty() if show is None else show)
        self._bar = tqdm(None, self._title, length_or_none(loader), disable=disable, leave=False, dynamic_ncols=True)

    def update(self, metrics: EpochMetrics) -> None:
        """Count one batch, and show the mean loss of the epoch so far."""
        if self._bar.disable:
            return
        loss = metrics.loss_sum / metrics.weight_sum if metrics.weight_sum else float("nan")
        self._bar.set_postfix_str(f"train loss {loss:.4g}, {self._times}", refresh=False)
        self._bar.update(1)

    def close(self, history: History) -> None:
        """Remove the bar, and print a line for the last row of the history."""
        self._bar.close()
        row, best = history.epochs[-1], history.best
        column = history.monitor.removeprefix("-")
        best_text = f"best {column} {best[column]:.4g} in epoch {best['epoch'] + 1:.0f}"
        print_line(f"{self._title}: {describe_row(row)} | {best_text} | {self._times}", self._show)

    @property
    def _times(self) -> str:
        seconds = int(time.monotonic() - self._start)
        return f"lr {self.lr:.3g}, total {seconds // 60}:{seconds % 60:02}"


def describe_row(row: Row) -> str:
    """Return the metrics of a row: "train loss 0.69, accuracy 0.5, AUC 0.5 | val loss 0.7, accuracy 0.5, AUC 0.5"."""
    val = {key.removeprefix("val_"): value for key, value in row.items() if key.startswith("val_")}
    train = {key: value for key, value in row.items() if key not in UNLABELLED and not key.startswith("val_")}
    parts = {name: values for name, values in (("train", train), ("val", val)) if values}
    return " | ".join(
        f"{name} {', '.join(map(describe_metric, *zip(*values.items(), strict=True)))}" for name, values in parts.items()
    )


def describe_metric(name: str, value: float) -> str:
    """Return the name and the value of a metric: "accuracy 0.5"."""
    return f"{'AUC' if name == 'auc' else name} {value:.4g}"


def print_line(text: str, show: bool | None) -> None:
    """Print a line to stderr, unless `show` is False."""
    if show is not False:
        sys.stderr.write(f"{text}\n")
