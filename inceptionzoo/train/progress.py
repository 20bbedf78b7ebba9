"""The progress bar of an epoch."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sized

from torch import Tensor

from .evaluate import Batches
from .metrics import EpochMetrics

SHOW_AUC_EVERY = 10  # steps: AUC sorts everything seen so far


class Progress:
    """A bar of steps with loss, accuracy and AUC of the epoch so far and the learning rate in use.

    `show` None shows it on a terminal only.
    """

    def __init__(self, epoch: int, epochs: int, batches: Batches, lr: float, show: bool | None) -> None:
        from tqdm import tqdm

        self.epoch, self.lr = epoch, lr
        total = len(batches) if isinstance(batches, Sized) else None
        hidden = not (sys.stderr.isatty() if show is None else show)
        self._bar = tqdm(batches, f"epoch {epoch + 1}/{epochs}", total, disable=hidden, leave=True, dynamic_ncols=True)
        self._step = 0

    def over(self, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches, a step each."""
        yield from self._bar if not self._bar.disable else batches

    def show(self, metrics: EpochMetrics) -> None:
        """Show the metrics so far."""
        if self._bar.disable:
            return
        self._step += 1
        if self._step % SHOW_AUC_EVERY == 0 or self._step == self._bar.total:
            values = metrics.compute()
            text = f"loss {values['loss']:.4f}, accuracy {values['accuracy']:.3f}, AUC {values['auc']:.3f}, lr {self.lr:.3g}"
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Leave the bar on the screen and end the line."""
        self._bar.close()
