"""Recognise whose names a state dict has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..errors import MismatchError
from ..spec import NATIVE, Layout

COUNTER = ".num_batches_tracked"  # absent from checkpoints older than torch 0.4.1


@dataclass(slots=True)
class LayoutMatch:
    """How a layout fits: {our key: their key}, what the source lacks, what it has too much, what is left out knowingly.

    `absent` are keys of ours that the source lacks and may lack.
    """

    layout: str
    table: dict[str, str]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def distance(self) -> int:
        """Number of names that differ."""
        return len(self.missing) + len(self.extra)


def is_classifier(key: str) -> bool:
    """Return whether a key of ours belongs to the last layer of a head, the auxiliary ones included."""
    return key in ("head.fc.weight", "head.fc.bias") or (key.startswith("aux.") and ".head.fc." in key)


def is_counter(key: str) -> bool:
    """Return whether a key counts the batches that a normalisation has seen: never of weight."""
    return key.endswith(COUNTER)


def match_layout(
    ours: Iterable[str],
    theirs: Iterable[str],
    layouts: tuple[Layout, ...],
    name: str,
    *,
    optional: Callable[[str], bool] | None = None,
) -> LayoutMatch:
    """Return the layout in which every tensor has its place, ours first; weights of auxiliary heads may be left over.

    Batch counters may be absent, and keys of ours that are `optional`.

    Raises:
        MismatchError: no layout fits; the message shows the three nearest and the first names that differ.
    """
    ours, theirs = list(ours), list(theirs)
    free = [key for key in ours if is_counter(key) or (optional is not None and optional(key))]
    matches = [_match(layout, ours, theirs, set(free)) for layout in (NATIVE, *layouts)]
    matches.sort(key=lambda match: (match.distance, len(match.absent)))
    best = matches[0]
    if best.distance == 0:
        return best
    if not any(name in theirs for match in matches for name in match.table.values()):
        raise MismatchError(f"{name}: no tensor has a name that the model knows; is it another architecture's?")
    nearest = "; ".join(map(_differences, matches[:3]))
    raise MismatchError(f"{name} has names of no known layout; nearest: {nearest}; use weights of this model and its arguments")


def _match(layout: Layout, ours: list[str], theirs: list[str], free: set[str]) -> LayoutMatch:
    table = layout.table(ours)
    have, want = set(theirs), set(table.values())
    side = tuple(theirs for ours, theirs in layout.prefixes if ours.startswith("aux.")) or ("aux.",)
    extra = [key for key in theirs if key not in want]
    lacking = [key for key in table if table[key] not in have]
    return LayoutMatch(
        layout.name,
        table,
        missing=[table[key] for key in lacking if key not in free],
        extra=[key for key in extra if not key.startswith(side)],
        dropped=[key for key in extra if key.startswith(side)],
        absent=[key for key in lacking if key in free],
    )


def _differences(match: LayoutMatch) -> str:
    missing = f"{len(match.missing)} missing ({', '.join(match.missing[:2])})" if match.missing else "none missing"
    extra = f"{len(match.extra)} unknown ({', '.join(match.extra[:2])})" if match.extra else "none unknown"
    return f"{match.layout}: {missing}, {extra}"
