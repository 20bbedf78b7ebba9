"""Groups of stages: equal consecutive blocks are drawn once, and each form of block has a letter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile

from .. import Chain, Concat, Cost, Layer, Network, Residual, Shape, stage_costs
from ._block import canonical_form

MOST_INLINE = 3  # the longest chain, in layers, that is drawn inside the table


@dataclass(frozen=True, slots=True)
class StageGroup:
    """Equal consecutive stages: names, layers, input shape and total cost. A block has the letter of its form."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    before: Shape
    cost: Cost
    letter: str = ""

    @property
    def label(self) -> str:
        """The name of the stage. For several, the first name and the end of the last that differs: "block35_1-10"."""
        if len(self.names) == 1:
            return self.names[0]
        first, last = self.names[0], self.names[-1]
        same = takewhile(lambda two: two[0] == two[1], zip(first, last, strict=False))
        shared = "".join(one for one, _ in same).rstrip("0123456789")
        return f"{first}{'-' if len(self.names) > 2 else ', '}{last[len(shared) :]}"


def steps(layer: Layer) -> tuple[Layer, ...]:
    """Return the layers of a stage that is drawn inside the table; () for a block, which has a panel."""
    layers = layer.layers if isinstance(layer, Chain) else (layer,)
    inline = len(layers) <= MOST_INLINE and not any(isinstance(step, Chain | Concat | Residual) for step in layers)
    return layers if inline else ()


def group_stages(network: Network, shape: Shape, *, full: bool) -> list[StageGroup]:
    """Return the groups of a network for images of `shape`; with `full`, blocks that differ in channels differ in letter."""
    rows, forms, last = list[StageGroup](), list[Layer](), None
    for name, layer, cost in stage_costs(network, shape):
        inline = bool(steps(layer))
        same = canonical_form(layer, widths=True), shape, cost
        if rows and not inline and same == last:
            one = rows[-1]
            rows[-1] = replace(one, names=(*one.names, name), layers=(*one.layers, layer), cost=one.cost.then(cost))
        else:
            letter = "" if inline else _letter(canonical_form(layer, widths=full), forms)
            rows.append(StageGroup((name,), (layer,), shape, cost, letter))
        shape, last = cost.shape, same
    return rows


def by_letter(rows: Iterable[StageGroup]) -> dict[str, list[StageGroup]]:
    """Return the groups of each letter."""
    found: dict[str, list[StageGroup]] = {}
    for row in rows:
        if row.letter:
            found.setdefault(row.letter, []).append(row)
    return found


def _letter(found: Layer, forms: list[Layer]) -> str:
    """Return the letter of a form, adding it to `forms` if it is new. Forms are compared because some are not hashable."""
    if found not in forms:
        forms.append(found)
    index = forms.index(found)
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")
