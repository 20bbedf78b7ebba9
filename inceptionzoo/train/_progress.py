"""The progress bar of an epoch."""

from __future__ import annotations

import sys
import time

from ..evaluation import Batches, DistributedContext, EpochMetrics, length_or_none

METRICS_INTERVAL = 10  # batches between two updates of the metrics: AUC sorts all images of the epoch so far


class Progress:
    """A bar of batches, with loss, accuracy and AUC of the epoch so far, the learning rate and the time since `start`.

    With `show=None` the bar is shown on a terminal only. The metrics are those of this rank's images.
    """

    def __init__(self, epoch: int, epochs: int, loader: Batches, lr: float, show: bool | None, start: float) -> None:
        from tqdm import tqdm

        self.epoch, self.lr, self._start, self._batches = epoch, lr, start, 0
        text, total = f"epoch {epoch + 1}/{epochs}", length_or_none(loader)
        self._bar = tqdm(None, text, total, disable=not should_show(show), leave=True, dynamic_ncols=True)

    def update(self, metrics: EpochMetrics) -> None:
        """Count one batch, and update the metrics every tenth batch and at the last."""
        if self._bar.disable:
            return
        self._batches += 1
        if self._batches % METRICS_INTERVAL == 0 or self._batches == self._bar.total:
            values = metrics.compute(DistributedContext())
            text = f"loss {values['loss']:.4f}, accuracy {values['accuracy']:.3f}, AUC {values['auc']:.3f}, lr {self.lr:.3g}"
            seconds = int(time.monotonic() - self._start)
            self._bar.set_postfix_str(f"{text}, total {seconds // 60}:{seconds % 60:02}", refresh=False)
        self._bar.update(1)

    def close(self) -> None:
        """Leave the bar on the screen and end the line."""
        self._bar.close()


def print_line(text: str, show: bool | None) -> None:
    """Print a line to stderr, if progress is shown."""
    if should_show(show):
        sys.stderr.write(f"{text}\n")


def should_show(show: bool | None) -> bool:
    """Return `show`; if it is None, return whether stderr is a terminal."""
    return sys.stderr.isatty() if show is None else show
