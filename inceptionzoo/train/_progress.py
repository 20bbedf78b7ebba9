"""The progress bar of an epoch."""

from __future__ import annotations

import sys
import time

from ..evaluation import Batches, DistributedContext, EpochMetrics, length_or_none

SHOW_EVERY = 10  # steps: AUC sorts everything seen so far


class Progress:
    """A bar of steps with loss, accuracy and AUC of the epoch so far, the learning rate in use and the time since `start`.

    `show` None shows it on a terminal only. Of several ranks the first shows it, with the figures of its own part.
    """

    def __init__(self, epoch: int, epochs: int, batches: Batches, lr: float, show: bool | None, start: float) -> None:
        from tqdm import tqdm

        self.epoch, self.lr, self._start, self._step = epoch, lr, start, 0
        text, total = f"epoch {epoch + 1}/{epochs}", length_or_none(batches)
        self._bar = tqdm(None, text, total, disable=not shown(show), leave=True, dynamic_ncols=True)

    def step(self, seen: EpochMetrics) -> None:
        """Count a step and show the figures so far."""
        if self._bar.disable:
            return
        self._step += 1
        if self._step % SHOW_EVERY == 0 or self._step == self._bar.total:
            values = seen.scores(DistributedContext())
            text = f"loss {values['loss']:.4f}, accuracy {values['accuracy']:.3f}, AUC {values['auc']:.3f}, lr {self.lr:.3g}"
            passed = int(time.monotonic() - self._start)
            self._bar.set_postfix_str(f"{text}, total {passed // 60}:{passed % 60:02}", refresh=False)
        self._bar.update(1)

    def close(self) -> None:
        """Leave the bar on the screen and end the line."""
        self._bar.close()


def say(text: str, show: bool | None) -> None:
    """Print a line above the bars, where they are shown."""
    if shown(show):
        sys.stderr.write(f"{text}\n")


def shown(show: bool | None) -> bool:
    """Return whether progress is shown: where None is asked, on a terminal only."""
    return sys.stderr.isatty() if show is None else show
