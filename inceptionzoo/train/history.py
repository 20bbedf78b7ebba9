"""What `fit` leaves behind: a row an epoch."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field

from ..errors import check_path

Row = dict[str, float]
COLUMNS = ("epoch", "lr", "loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc", "seconds")


@dataclass(slots=True)
class History:
    """Rows of `COLUMNS`, one an epoch, from 0; fractions, seconds; val_ columns where there was validation data.

    `monitor` is the column by which `best` is chosen: the largest, the smallest for a loss.
    """

    monitor: str
    epochs: list[Row] = field(default_factory=list)

    @property
    def best(self) -> Row:
        """The row of the best epoch; of the first where none has a value."""
        return max(self.epochs, key=self.score)

    def score(self, row: Row) -> float:
        """Return how good a row is: larger is better, minus infinity where the value is undefined."""
        value = row[self.monitor]
        if value != value:  # nan
            return float("-inf")
        return -value if self.monitor.endswith("loss") else value

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a CSV file."""
        with open(check_path("path", path), "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, [column for column in COLUMNS if any(column in row for row in self.epochs)])
            writer.writeheader()
            writer.writerows(self.epochs)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw loss, accuracy, AUC and learning rate against the epoch, and save the picture."""
        from .plots import save_curves

        save_curves(self.epochs, check_path("path", path))
