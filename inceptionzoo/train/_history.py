"""The record of a training: one row of metrics for each epoch."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from dataclasses import dataclass, field

from ..errors import check_path
from ..weights import atomic_write_text

Row = dict[str, float]
COLUMNS = ("epoch", "lr", "loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc")  # then own metrics, then seconds


def smaller_is_better(monitor: str) -> bool:
    """Return whether the best epoch has the smallest value of the monitored column."""
    return monitor.endswith("loss") or monitor.startswith("-")


def describe_nan(history: History) -> str | None:
    """Return a warning if the monitored column is nan in the first epoch, else None."""
    column = history.monitor.removeprefix("-")
    if len(history.epochs) != 1 or not math.isnan(history.epochs[0][column]):
        return None
    cause = "AUC needs images of two classes" if column.endswith("auc") else "it has no value for these images"
    return (
        f"monitor={column!r} is nan after the first epoch: {cause}. While every value is nan, the first epoch is the best, and "
        "patience_epochs counts from it; choose another monitor or other validation data"
    )


@dataclass(slots=True)
class History:
    """The record of a training: `epochs` has one row for each epoch, a dict from column to number.

    The columns are epoch (from 0), lr, loss, accuracy, auc and seconds (the duration of the epoch). With validation data there
    are also val_loss, val_accuracy, val_auc, and val_NAME for each of your metrics. Accuracy and AUC are fractions. For
    regression there are mae, rmse and r2 instead. `monitor` is the column that chooses the `best` row: the row with the
    largest value, or with the smallest if the column is a loss or has a "-" before its name.
    """

    monitor: str
    epochs: list[Row] = field(default_factory=list)

    @property
    def best(self) -> Row:
        """The row of the best epoch; the first row if no row has a value. A ValueError if there are no rows."""
        return max(self.epochs, key=self.score)

    def score(self, row: Row) -> float:
        """Return the number by which `best` is chosen: larger is better; minus infinity if the row has no value."""
        value = row[self.monitor.removeprefix("-")]
        if math.isnan(value):
            return -math.inf
        return -value if smaller_is_better(self.monitor) else value

    @property
    def epochs_since_best(self) -> int:
        """The number of rows after the best one."""
        return len(self.epochs) - 1 - self.epochs.index(self.best) if self.epochs else 0

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a CSV file, which is replaced as a whole."""
        names = dict.fromkeys(name for row in self.epochs for name in row)  # a callback may add one in some epochs only
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names or COLUMNS)
        writer.writeheader()
        writer.writerows(self.epochs)
        atomic_write_text(check_path("path", path), text.getvalue())

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `monitor` and the rows to a JSON file, which is replaced as a whole; values that are not finite become null."""
        rows = [{key: value if math.isfinite(value) else None for key, value in row.items()} for row in self.epochs]
        atomic_write_text(check_path("path", path), json.dumps({"monitor": self.monitor, "epochs": rows}, indent=1) + "\n")

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Plot loss, accuracy, AUC and learning rate against the epoch, and save the image."""
        from ..evaluation import save_curves

        save_curves(self.epochs, check_path("path", path))
