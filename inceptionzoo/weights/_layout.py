"""Recognise which library's tensor names a state dict has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..errors import MismatchError
from ..spec import NATIVE, Layout

BATCH_COUNTER = ".num_batches_tracked"  # absent from checkpoints older than torch 0.4.1


@dataclass(slots=True)
class LayoutMatch:
    """How well a layout fits a source's names.

    `table` maps the model's keys to the source's. `missing` are required names that the source lacks, `extra` are names that
    the model lacks, `dropped` are the source's auxiliary heads that the model lacks. `absent` are the model's optional keys
    that the source lacks.
    """

    layout: str
    table: dict[str, str]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def distance(self) -> int:
        """Number of names that differ; 0 if the layout fits."""
        return len(self.missing) + len(self.extra)


def is_classifier(key: str) -> bool:
    """Return whether a model's key belongs to the last layer of a head, auxiliary heads included."""
    return key in ("head.fc.weight", "head.fc.bias") or (key.startswith("aux.") and ".head.fc." in key)


def is_batch_counter(key: str) -> bool:
    """Return whether a key is batch normalisation's number of batches seen, which does not affect the outputs."""
    return key.endswith(BATCH_COUNTER)


def match_layout(
    ours: Iterable[str],
    theirs: Iterable[str],
    layouts: tuple[Layout, ...],
    name: str,
    *,
    optional: Callable[[str], bool] | None = None,
) -> LayoutMatch:
    """Return the layout that fits a source's names (`theirs`) to the model's keys (`ours`); this library's is tried first.

    Batch counters may be absent, as may keys for which `optional(key)` is true. Auxiliary heads that the model lacks
    are dropped. `name` is the source's name, for errors.

    Raises:
        MismatchError: no layout fits; the message shows the three nearest and the first names that differ.
    """
    ours, theirs = list(ours), list(theirs)
    may_be_absent = {key for key in ours if is_batch_counter(key) or (optional is not None and optional(key))}
    matches = [_match(layout, ours, theirs, may_be_absent) for layout in (NATIVE, *layouts)]
    matches.sort(key=lambda match: (match.distance, len(match.absent)))
    best = matches[0]
    if best.distance == 0:
        return best
    if not any(name in theirs for match in matches for name in match.table.values()):
        raise MismatchError(f"{name}: no tensor has a name of this model; use weights of the same architecture")
    nearest = "; ".join(map(_describe_differences, matches[:3]))
    raise MismatchError(f"{name}: the names match no known layout; nearest: {nearest}; {_remedy(best)}")


def _remedy(match: LayoutMatch) -> str:
    """Return what to do about missing names. Keras models often lack the weights of normalisation, which then are one."""
    scales = [theirs for ours, theirs in match.table.items() if ours.endswith(".bn.weight")]
    if match.missing and not match.extra and set(match.missing) <= set(scales):
        return "if it has no scale in batch normalisation (Keras's scale=False), add tensors of ones under these names"
    return "use weights of this model, made with the same arguments"


def _match(layout: Layout, ours: list[str], theirs: list[str], may_be_absent: set[str]) -> LayoutMatch:
    table = layout.table(ours)
    present, known = set(theirs), set(table.values())
    aux_prefixes = tuple(theirs for ours, theirs in layout.prefixes if ours.startswith("aux.")) or ("aux.",)
    extra = [key for key in theirs if key not in known]
    lacking = [key for key in table if table[key] not in present]
    return LayoutMatch(
        layout.name,
        table,
        missing=[table[key] for key in lacking if key not in may_be_absent],
        extra=[key for key in extra if not key.startswith(aux_prefixes)],
        dropped=[key for key in extra if key.startswith(aux_prefixes)],
        absent=[key for key in lacking if key in may_be_absent],
    )


def _describe_differences(match: LayoutMatch) -> str:
    missing = f"{len(match.missing)} missing ({', '.join(match.missing[:2])})" if match.missing else "none missing"
    extra = f"{len(match.extra)} unknown ({', '.join(match.extra[:2])})" if match.extra else "none unknown"
    return f"{match.layout}: {missing}, {extra}"
