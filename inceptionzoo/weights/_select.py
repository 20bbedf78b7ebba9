"""Select the tensors of a model from a checkpoint, and refuse a choice between two sets of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import FileError, MismatchError
from ..spec import NATIVE, Layout
from ._layout import LayoutMatch, is_batch_counter, match_layout, rank_layouts
from ._locate import Location, find_locations, parts_of
from ._parts import Part
from ._source import WeightSource
from ._validation import require_dense

MAX_LOCATIONS = 16  # that are compared with the model in full
MAX_LABEL = 100  # characters of a part's name in a message


@dataclass(frozen=True, slots=True)
class Model:
    """The names of a model that are looked for: the state-dict `keys`, and those of the stages that were `removed` from it."""

    keys: tuple[str, ...]
    layouts: tuple[Layout, ...] = ()
    removed: tuple[str, ...] = ()
    new_head: bool = False

    @property
    def required(self) -> int:
        """Number of keys that every source must have."""
        may_be_absent = [is_batch_counter(key) or (self.new_head and key.startswith(("head.", "aux."))) for key in self.keys]
        return may_be_absent.count(False)


def select_weights(model: Model, source: WeightSource) -> tuple[WeightSource, LayoutMatch]:
    """Return the tensors of a model, by their names without the prefix, and the layout of the names.

    The part of a checkpoint and the prefix in it are those under which all names of the model are. Averaged weights come
    before others.

    Raises:
        FileError: a value of the model is not a tensor.
        MismatchError: no part has the model's names, two have them with different values, or a tensor is not dense.
    """
    locations = find_locations(model.keys, source, model.layouts)
    if not locations:
        raise MismatchError(_describe_names(model, source))
    found = _complete(model, locations) or [_nearest(model, locations[0])]
    chosen = min(found, key=lambda place: (place.location.preference, len(place.match.absent)))
    _refuse_others(chosen.location, chosen.match)
    values = {name: require_dense(name, chosen.location.part.tensors[original]) for name, original in chosen.names.items()}
    for other in found:
        _refuse_ambiguity(chosen, other)
    part, inside = chosen.location.part, set(chosen.names.values())
    selected = replace(
        source,
        tensors=values,
        parts=(),
        selected=chosen.location.label or source.selected,
        outside=tuple(name for name in part.tensors if name not in inside),
        left_over=tuple(_left_over(part, parts_of(source))),
    )
    return selected, chosen.match


@dataclass(frozen=True, slots=True)
class _Found:
    """A place that has all names of the model: `names` are {name without the prefix: name in the part}."""

    location: Location
    match: LayoutMatch
    names: Mapping[str, str]


def _complete(model: Model, locations: Iterable[Location]) -> list[_Found]:
    """Return the places that have all names of the model and no other names."""
    found, required = [], model.required
    for location in [place for place in locations if place.found >= required][:MAX_LOCATIONS]:
        names = location.source_names()
        match = _rank(model, names)[0]
        if match.distance == 0:
            found.append(_Found(location, match, names))
    return found


def _describe_names(model: Model, source: WeightSource) -> str:
    """Return the error for a source without any name of the model, with examples of the names in both."""
    wanted = [next(iter(layout.table(model.keys).values())) for layout in (NATIVE, *model.layouts)]
    found = [name[:MAX_LABEL] for name in source.tensors][:2]
    return (
        f"{source.name}: no tensor has a name of this model; use weights of the same architecture, with names such as "
        f"{', '.join(dict.fromkeys(wanted))}; the names there are {', '.join(found) or 'none'}"
    )


def _rank(model: Model, names: Iterable[str]) -> list[LayoutMatch]:
    return rank_layouts(model.keys, names, model.layouts, new_head=model.new_head, removed=model.removed)


def _nearest(model: Model, location: Location) -> _Found:
    """Return the place if it has all names of the model.

    Raises:
        FileError, MismatchError: it has not; the message shows what differs.
    """
    names = location.source_names()
    _refuse_others(location, _rank(model, names)[0])
    label = f"{location.source}, {location.label[:MAX_LABEL]!r}" if location.label else location.source
    match = match_layout(model.keys, names, model.layouts, label, new_head=model.new_head, removed=model.removed)
    return _Found(location, match, names)


def _refuse_others(location: Location, match: LayoutMatch) -> None:
    """Check that no value of the model is something else than a tensor, and that each tensor of the part has a name.

    Raises:
        FileError: one is, or has none.
    """
    part, wanted = location.part, {location.prefix + name for name in match.table.values()}
    faults = list(part.faults)
    faults += [f"{key!r} is a {kind}, not a tensor" for key, kind in part.others.items() if key in wanted]
    if faults:
        raise FileError(f"{location.source}: {faults[0]}; pass the state dict alone")


def _refuse_ambiguity(chosen: _Found, other: _Found) -> None:
    """Check that another place, if it is as good as the chosen one, holds the same values for the model.

    Raises:
        MismatchError: it does not.
    """
    if other.location.preference != chosen.location.preference:
        return
    parts = chosen.location.part, other.location.part
    for key, name in chosen.match.table.items():
        ours, theirs = chosen.names.get(name, ""), other.names.get(other.match.table[key], "")
        if parts[0] is parts[1] and ours == theirs:
            continue
        if not _same(parts[0].tensors.get(ours), parts[1].tensors.get(theirs)):
            labels = " and ".join(repr(place.location.label[:MAX_LABEL] or "no prefix") for place in (chosen, other))
            raise MismatchError(
                f"{chosen.location.source} holds two sets of weights that fit the model and differ: {labels}; pass the state "
                "dict of one of them, without the prefix"
            )


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    a, b = require_dense("a tensor", a), require_dense("a tensor", b)
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _left_over(chosen: Part, parts: Iterable[Part]) -> list[str]:
    """Return what else is in a checkpoint: keys of values, and of mappings with their numbers of tensors."""
    counts: dict[tuple[str, ...], int] = {}
    for part in parts:
        shared = next((n for n, pair in enumerate(zip(part.path, chosen.path, strict=False)) if pair[0] != pair[1]), None)
        shared = min(len(part.path), len(chosen.path)) if shared is None else shared
        if len(part.path) > shared:  # it is beside the chosen part or inside it
            group = part.path[: shared + 1]
            counts[group] = counts.get(group, 0) + len(part.tensors)
            continue
        tensors = {} if part.path == chosen.path else part.tensors
        counts |= {(*part.path, key): 0 for key in (*tensors, *part.others)}
    texts = {0: "", 1: " (1 tensor)"}
    return [".".join(path) + texts.get(count, f" ({count} tensors)") for path, count in counts.items()]
