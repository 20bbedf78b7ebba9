"""Recognise whose names a state dict has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..entry import NATIVE, Layout
from ..errors import MismatchError

COUNTER = ".num_batches_tracked"  # absent from checkpoints older than torch 0.4.1


@dataclass(slots=True)
class Match:
    """How a layout fits: {our key: their key}, what the source lacks, what it has too much, what is left out knowingly."""

    layout: str
    table: dict[str, str]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def distance(self) -> int:
        """Number of names that differ."""
        return len(self.missing) + len(self.extra)


def recognise(ours: Iterable[str], theirs: Iterable[str], layouts: tuple[Layout, ...], name: str) -> Match:
    """Return the layout in which every tensor has its place, ours first; weights of auxiliary heads may be left over.

    Raises:
        MismatchError: no layout fits; the message shows the three nearest and the first names that differ.
    """
    ours, theirs = list(ours), list(theirs)
    matches = sorted((_match(layout, ours, theirs) for layout in (NATIVE, *layouts)), key=lambda match: match.distance)
    best = matches[0]
    if best.distance == 0:
        return best
    if not any(name in theirs for match in matches for name in match.table.values()):
        raise MismatchError(f"{name}: no tensor has a name that the model knows; is it another architecture's?")
    nearest = "; ".join(map(_differences, matches[:3]))
    raise MismatchError(f"{name} has names of no known layout; nearest: {nearest}; use weights of this model and its arguments")


def _match(layout: Layout, ours: list[str], theirs: list[str]) -> Match:
    table = layout.table(ours)
    have, want = set(theirs), set(table.values())
    side = tuple(theirs for ours, theirs in layout.prefixes if ours.startswith("aux.")) or ("aux.",)
    extra = [key for key in theirs if key not in want]
    return Match(
        layout.name,
        table,
        missing=[key for key in table.values() if key not in have and not key.endswith(COUNTER)],
        extra=[key for key in extra if not key.startswith(side)],
        dropped=[key for key in extra if key.startswith(side)],
    )


def _differences(match: Match) -> str:
    missing = f"{len(match.missing)} missing ({', '.join(match.missing[:2])})" if match.missing else "none missing"
    extra = f"{len(match.extra)} unknown ({', '.join(match.extra[:2])})" if match.extra else "none unknown"
    return f"{match.layout}: {missing}, {extra}"
