"""A reliability figure: what was tried, counted, and the counts that must be zero."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figure:
    """`counts` is everything that was counted, in the order printed; `zero` names those of it that must be 0.

    `reached` names those that must not be 0: a figure that never met what it looks for proves nothing.
    """

    name: str
    zero: tuple[str, ...]
    reached: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)  # the first case of each failure, to look at

    def add(self, key: str, example: object = "") -> None:
        """Count one case; keep the first example of what must not happen."""
        self.counts[key] += 1
        if key in self.zero:
            self.examples.setdefault(key, str(example))

    @property
    def failures(self) -> list[str]:
        """What is not as it must be, in words."""
        broken = [f"{key}: {self.counts[key]}, as {self.examples.get(key, '')}" for key in self.zero if self.counts[key]]
        return broken + [f"{key}: 0, so nothing was shown" for key in self.reached if not self.counts[key]]

    def lines(self) -> list[str]:
        """One counter a line."""
        keys = dict.fromkeys([*self.counts, *self.zero, *self.reached])
        return [f"{self.name} | {key} | {self.counts[key]}" for key in keys]
