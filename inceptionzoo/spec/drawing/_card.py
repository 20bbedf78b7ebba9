"""A figure in a card of its own: a block, whose stages may differ in width, or an auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import Aux, Layer, Shape, Style
from ._block import columns, draw_block
from ._marks import Bar, Mark, Piece, Text, box, even, stack
from ._rows import Row
from ._text import measure
from ._words import Words, cell

PAD, LINE, HEADER = 14, 18, 54


@dataclass(frozen=True, slots=True)
class Card:
    """A figure with two lines above it."""

    title: str
    below: str
    figure: Piece

    @property
    def width(self) -> int:
        """The least width that holds it."""
        return even(2 * PAD + max(measure(self.title, "heading"), measure(self.below, "small"), self.figure.width))

    @property
    def height(self) -> int:
        """Height in pixels."""
        return HEADER + self.figure.height + PAD

    def drawn(self, width: int, height: int) -> Piece:
        """Return it, larger."""
        words = Text(PAD, 22, self.title, "heading"), Text(PAD, 38, self.below, "small")
        figure = self.figure.at((width - self.figure.width) // 2, HEADER)
        return Piece(width, height, (Bar("card", 0, 0, width, height), *words, *figure))


def block_card(letter: str, rows: Sequence[Row], style: Style) -> Card:
    """Return the card of a form of block: its figure, and below each branch its widths, a line for each row that differs."""
    layers = [layer for row in rows for layer in row.layers]
    ins = [row.before.channels for row in rows for _ in row.layers]
    cells = [[cell(column) for column in columns(row.layers[0])] for row in rows]
    cells = cells if len(set(map(tuple, cells))) > 1 else []
    least = [max(measure(said, "small") for said in column) + 4 for column in zip(*cells, strict=True)]
    figure = draw_block(layers, ins, style, least)
    whole = _between(figure, [row.before for row in rows], [row.cost.shape for row in rows])
    count = sum(len(row.names) for row in rows)
    below = f"{count} stages, their widths below" if cells else ", ".join(row.label for row in rows)
    return Card(f"block {letter}", below, _with_table(whole, figure, [row.label for row in rows], cells) if cells else whole)


def aux_card(aux: Aux, taps: Sequence[str], befores: Sequence[Shape], said: Sequence[Words], style: Style) -> Card:
    """Return the card of an auxiliary head on stages of these shapes; `said` is what the boxes of its own head say."""
    figure = draw_block([aux.layers] * len(taps), [before.channels for before in befores], style)
    pieces = [_shape(befores, "input"), figure, *(box(*words) for words in said)]
    below = f"in training only, on {' and '.join(taps)}, weight {aux.weight:g}"
    return Card("auxiliary head" + ("s" if len(taps) > 1 else ""), below, stack(pieces))


def layer_figure(layer: Layer, before: Shape | None, after: Shape | None, style: Style) -> Piece:
    """Return the figure of a layer by itself."""
    figure = draw_block([layer], [before.channels] if before else [], style)
    return _between(figure, [before] if before else [], [after] if after else [])


def _between(figure: Piece, befores: Sequence[Shape], afters: Sequence[Shape]) -> Piece:
    return stack([_shape(befores, "input"), figure, _shape(afters, "output")])


def _shape(shapes: Sequence[Shape], name: str) -> Piece:
    """Return the box of a shape, or of a name where there is none, or more than one."""
    return box("shape", str(shapes[0]) if len(set(shapes)) == 1 else name, flat=True)


def _with_table(whole: Piece, figure: Piece, names: Sequence[str], cells: Sequence[Sequence[str]]) -> Piece:
    """Return a figure with a line for each name below it, whose cells stand under the branches' middles."""
    left, top = even(max(measure(name, "small") for name in names) + 12), whole.height + 10
    shift, axes = left + (whole.width - figure.width) // 2, figure.axes or (figure.width // 2,)
    marks: list[Mark] = [*whole.at(left, 0)]
    for index, (name, row) in enumerate(zip(names, cells, strict=True)):
        y = top + index * LINE
        if index % 2 == 0:
            marks.append(Bar("band", 0, y, left + whole.width, LINE))
        marks.append(Text(4, y + 13, name, "small"))
        marks += [Text(shift + axis, y + 13, said, "small", "middle") for axis, said in zip(axes, row, strict=True) if said]
    return Piece(left + whole.width, top + LINE * len(names), tuple(marks))
