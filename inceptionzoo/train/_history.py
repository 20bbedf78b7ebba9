"""What `fit` leaves behind: a row an epoch."""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import dataclass, field

from ..errors import check_path

Row = dict[str, float]
COLUMNS = ("epoch", "lr", "loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc")  # then one's own, then seconds


@dataclass(slots=True)
class History:
    """Rows of `COLUMNS`, the caller's own metrics and `seconds`, one an epoch, from 0; val_ columns where there was such data.

    Rates are fractions. `monitor` is the column by which `best` is chosen: the largest, the smallest for a loss and for a
    column with "-" before its name.
    """

    monitor: str
    epochs: list[Row] = field(default_factory=list)

    @property
    def best(self) -> Row:
        """The row of the best epoch; of the first where none has a value."""
        return max(self.epochs, key=self.score)

    def score(self, row: Row) -> float:
        """Return how good a row is: larger is better, minus infinity where the value is undefined."""
        value = row[self.monitor.removeprefix("-")]
        if math.isnan(value):
            return -math.inf
        return -value if self.monitor.endswith("loss") or self.monitor.startswith("-") else value

    def stale(self, patience: int | None) -> bool:
        """Return whether the last `patience` epochs were no better than the one before them."""
        return patience is not None and bool(self.epochs) and len(self.epochs) - 1 - self.epochs.index(self.best) >= patience

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a CSV file."""
        with open(check_path("path", path), "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.epochs[0] if self.epochs else COLUMNS)
            writer.writeheader()
            writer.writerows(self.epochs)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a JSON file, an object an epoch; what is undefined is null."""
        rows = [{key: value if math.isfinite(value) else None for key, value in row.items()} for row in self.epochs]
        check_path("path", path).write_text(json.dumps({"monitor": self.monitor, "epochs": rows}, indent=1) + "\n")

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw loss, accuracy, AUC and learning rate against the epoch, and save the picture."""
        from ..evaluation import save_curves

        save_curves(self.epochs, check_path("path", path))
