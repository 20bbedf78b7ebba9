"""Panels: a framed drawing of a block, or of an auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import Aux, Layer, Shape, Style
from ._block import columns, draw_block
from ._elements import Element, Group, Rect, Text, box, next_even, stack
from ._labels import Label, branch_widths
from ._stage_groups import StageGroup
from ._text import measure

PAD, LINE, HEADER = 14, 18, 54


@dataclass(frozen=True, slots=True)
class Panel:
    """A drawing in a frame, with two lines of text above it."""

    title: str
    below: str
    figure: Group

    @property
    def width(self) -> int:
        """The smallest width that holds the drawing and the texts, in pixels."""
        return next_even(2 * PAD + max(measure(self.title, "heading"), measure(self.below, "small"), self.figure.width))

    @property
    def height(self) -> int:
        """Height in pixels."""
        return HEADER + self.figure.height + PAD

    def drawn(self, width: int, height: int) -> Group:
        """Return the panel in a frame of this size."""
        heading = Text(PAD, 22, self.title, "heading"), Text(PAD, 38, self.below, "small")
        figure = self.figure.at((width - self.figure.width) // 2, HEADER)
        return Group(width, height, (Rect("card", 0, 0, width, height), *heading, *figure))


def block_panel(letter: str, rows: Sequence[StageGroup], style: Style) -> Panel:
    """Return the panel of blocks of one form. If their channels differ, a table below has a row per group of stages."""
    layers = [layer for row in rows for layer in row.layers]
    in_channels = [row.before.channels for row in rows for _ in row.layers]
    cells = [[branch_widths(column) for column in columns(row.layers[0])] for row in rows]
    cells = cells if len(set(map(tuple, cells))) > 1 else []
    min_width = [max(measure(widths, "small") for widths in column) + 4 for column in zip(*cells, strict=True)]
    figure = draw_block(layers, in_channels, style, min_width)
    whole = _between(figure, [row.before for row in rows], [row.cost.shape for row in rows])
    count = sum(len(row.names) for row in rows)
    below = f"{count} stages, their widths below" if cells else ", ".join(row.label for row in rows)
    return Panel(f"block {letter}", below, _with_table(whole, figure, [row.label for row in rows], cells) if cells else whole)


def aux_panel(aux: Aux, taps: Sequence[str], befores: Sequence[Shape], labels: Sequence[Label], style: Style) -> Panel:
    """Return the panel of an auxiliary head on the stages `taps`, whose outputs have the shapes `befores`.

    `labels` are the labels of its `Head`.
    """
    figure = draw_block([aux.layers] * len(taps), [before.channels for before in befores], style)
    groups = [_shape(befores, "input"), figure, *(box(*label) for label in labels)]
    below = f"in training only, on {' and '.join(taps)}, weight {aux.weight:g}"
    return Panel("auxiliary head" + ("s" if len(taps) > 1 else ""), below, stack(groups))


def layer_figure(layer: Layer, before: Shape | None, after: Shape | None, style: Style) -> Group:
    """Return the drawing of a single layer between its input and output shapes."""
    figure = draw_block([layer], [before.channels] if before else [], style)
    return _between(figure, [before] if before else [], [after] if after else [])


def _between(figure: Group, befores: Sequence[Shape], afters: Sequence[Shape]) -> Group:
    return stack([_shape(befores, "input"), figure, _shape(afters, "output")])


def _shape(shapes: Sequence[Shape], name: str) -> Group:
    """Return a box with the shape, or with `name` if the shapes differ or are unknown."""
    return box("shape", str(shapes[0]) if len(set(shapes)) == 1 else name, flat=True)


def _with_table(whole: Group, figure: Group, names: Sequence[str], cells: Sequence[Sequence[str]]) -> Group:
    """Return the drawing with a table below: a row for each name, with a cell centred under each branch."""
    left, top = next_even(max(measure(name, "small") for name in names) + 12), whole.height + 10
    shift, axes = left + (whole.width - figure.width) // 2, figure.branch_centers or (figure.width // 2,)
    elements: list[Element] = [*whole.at(left, 0)]
    for index, (name, row) in enumerate(zip(names, cells, strict=True)):
        y = top + index * LINE
        if index % 2 == 0:
            elements.append(Rect("band", 0, y, left + whole.width, LINE))
        elements.append(Text(4, y + 13, name, "small"))
        elements += [
            Text(shift + axis, y + 13, label, "small", "middle") for axis, label in zip(axes, row, strict=True) if label
        ]
    return Group(left + whole.width, top + LINE * len(names), tuple(elements))
