"""A reliability figure: counts of what happened, and which of them must be zero."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figure:
    """A set of counters.

    `counts` holds all counters, in the order printed. Those in `zero` must be 0. Those in `reached` must not be 0, because a
    figure that never meets what it looks for proves nothing.
    """

    name: str
    zero: tuple[str, ...]
    reached: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)  # the first case of each failure

    def add(self, key: str, example: object = "") -> None:
        """Count one case; keep the first example of a failure."""
        self.counts[key] += 1
        if key in self.zero:
            self.examples.setdefault(key, str(example))

    @property
    def failures(self) -> list[str]:
        """A message for each counter that is not as required."""
        broken = [f"{key}: {self.counts[key]}, as {self.examples.get(key, '')}" for key in self.zero if self.counts[key]]
        return broken + [f"{key}: 0, so nothing was shown" for key in self.reached if not self.counts[key]]

    def lines(self) -> list[str]:
        """One line for each counter."""
        keys = dict.fromkeys([*self.counts, *self.zero, *self.reached])
        return [f"{self.name} | {key} | {self.counts[key]}" for key in keys]
