"""The rows of a network's picture: a stage each, equal blocks in a row together, and a letter for each form of block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile

from .. import Chain, Concat, Cost, Layer, Network, Residual, Shape, stage_costs
from ._block import form

MOST_INLINE = 3  # layers of a chain that is drawn in its row


@dataclass(frozen=True, slots=True)
class Row:
    """Stages that are alike, one or more: their layers, the shapes before and after, the cost of all. A block has a letter."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    before: Shape
    cost: Cost
    letter: str = ""

    @property
    def label(self) -> str:
        """The name, or of several the first and the last, without what they share: "block35_1-10"."""
        if len(self.names) == 1:
            return self.names[0]
        first, last = self.names[0], self.names[-1]
        same = takewhile(lambda two: two[0] == two[1], zip(first, last, strict=False))
        shared = "".join(one for one, _ in same).rstrip("0123456789")
        return f"{first}{'-' if len(self.names) > 2 else ', '}{last[len(shared) :]}"


def steps(layer: Layer) -> tuple[Layer, ...]:
    """Return the layers of a stage that is drawn in its row; none of a block."""
    layers = layer.layers if isinstance(layer, Chain) else (layer,)
    inline = len(layers) <= MOST_INLINE and not any(isinstance(step, Chain | Concat | Residual) for step in layers)
    return layers if inline else ()


def make_rows(network: Network, shape: Shape, *, full: bool) -> list[Row]:
    """Return the rows of a network on images of `shape`; `full` gives a letter to each width of a block, too."""
    rows, forms, last = list[Row](), list[Layer](), None
    for name, layer, cost in stage_costs(network, shape):
        inline = bool(steps(layer))
        same = form(layer, widths=True), shape, cost
        if rows and not inline and same == last:
            one = rows[-1]
            rows[-1] = replace(one, names=(*one.names, name), layers=(*one.layers, layer), cost=one.cost.then(cost))
        else:
            letter = "" if inline else _letter(form(layer, widths=full), forms)
            rows.append(Row((name,), (layer,), shape, cost, letter))
        shape, last = cost.shape, same
    return rows


def by_letter(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each form of block."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.letter:
            found.setdefault(row.letter, []).append(row)
    return found


def _letter(found: Layer, forms: list[Layer]) -> str:
    """Return the letter of a form, which is put to the known ones. Only equality is asked for: not all of them have a hash."""
    if found not in forms:
        forms.append(found)
    index = forms.index(found)
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")
