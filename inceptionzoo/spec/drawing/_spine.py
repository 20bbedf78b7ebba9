"""The column of a network's stages: name, layers, output and share of the cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .. import Cost, Style
from ._marks import FLAT, Bar, Box, Mark, Piece, Text, Wire, box, even
from ._rows import Row, steps
from ._text import measure
from ._words import Words, number, words

PAD, GUTTER, AUX = 12, 16, 48  # beside and between columns, and the width of auxiliary heads
BETWEEN, EDGE, HEADING = 8, 6, 24  # between two boxes, around a band, above the first band
HEADINGS = ("stage", "layers", "output", "params", "mult-adds")


@dataclass(frozen=True, slots=True)
class Line:
    """A row as it is drawn: its boxes, and what stands left and right of them. `band` is the same on maps of one size."""

    label: str
    boxes: tuple[Piece, ...]
    output: str
    cost: Cost
    band: str
    repeated: bool = False
    aux: bool = False

    @property
    def height(self) -> int:
        """Height in pixels."""
        return FLAT * len(self.boxes) + BETWEEN * (len(self.boxes) - 1)

    @property
    def counts(self) -> tuple[tuple[int, str], ...]:
        """Parameters and multiply-adds, and how they are written: not at all where there are none."""
        least, known = "" if self.cost.complete else ">= ", (self.cost.params, self.cost.macs)
        return tuple((count, f"{least}{number(count)}" if count or least else "") for count in known)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns stand: the boxes' middle and half width, the right ends of outputs and of the two counts.

    `share` is the width of the longest bar, and `most` the counts that it stands for.
    """

    middle: int
    half: int
    output: int
    counts: tuple[int, int]
    share: int
    most: tuple[int, int]

    @classmethod
    def of(cls, lines: Sequence[Line], least: int) -> Columns:
        """Return the columns that hold these lines, and are `least` wide together; the boxes take what room is left."""
        name = max(measure(said, "strong") for said in (HEADINGS[0], *(line.label for line in lines)))
        boxes = max(piece.width for line in lines for piece in line.boxes)
        out = max(measure(said) for said in (HEADINGS[2], *(line.output for line in lines)))
        out += AUX if any(line.aux for line in lines) else 0
        share = max(measure(said, "small") for said in (*HEADINGS[3:], *(said for line in lines for _, said in line.counts)))
        half = max(boxes, least - (2 * PAD + name + out + 2 * share + 4 * GUTTER)) // 2
        middle = PAD + name + GUTTER + half
        output = middle + half + GUTTER + out
        most = max(1, *(line.cost.params for line in lines)), max(1, *(line.cost.macs for line in lines))
        return cls(middle, half, output, (output + GUTTER + share, output + 2 * (GUTTER + share)), share, most)


def stage_line(row: Row, style: Style, taps: Sequence[str]) -> Line:
    """Return the line of a row; `taps` are the stages with an auxiliary head."""
    shape, count = row.cost.shape, len(row.names)
    boxes = [box(*words([step], style), flat=True) for step in steps(row.layers[0])]
    if not boxes:
        hint = ", ".join(row.names) if count > 1 else ""
        boxes = [box("block", f"block {row.letter}", f"x {count}" if count > 1 else "", flat=True, hint=hint)]
    aux = any(name in taps for name in row.names)
    return Line(row.label, tuple(boxes), str(shape), row.cost, f"{shape.height}x{shape.width}", count > 1, aux)


def head_line(said: Sequence[Words], cost: Cost) -> Line:
    """Return the line of the head."""
    return Line("head", tuple(box(*one, flat=True) for one in said), str(cost.shape.channels or "features"), cost, "head")


def draw_spine(lines: Sequence[Line], least: int) -> Piece:
    """Return the column of these lines, `least` wide, whose bars compare with the largest's; maps of one size have a band."""
    columns, y, bands, marks, ends = Columns.of(lines, least), HEADING, list[Mark](), list[Mark](), list[int]()
    wide = even(columns.counts[1] + PAD)
    for _, group in groupby(lines, key=lambda line: line.band):
        top, y = y, y + EDGE
        for line in group:
            marks += _line(line, columns, y)
            ends += [y, y + line.height]
            y += line.height + BETWEEN
        y += EDGE - BETWEEN
        bands.append(Bar("band", 0, top, wide, y - top))
        y += 4
    wires = [Wire(((columns.middle, a), (columns.middle, b))) for a, b in zip(ends[1:-1:2], ends[2::2], strict=True)]
    return Piece(wide, y - 4, (*_headings(columns), *bands, *wires, *marks))


def _headings(columns: Columns) -> Iterator[Mark]:
    yield Text(PAD, 14, HEADINGS[0], "small")
    yield Text(columns.middle, 14, HEADINGS[1], "small", "middle")
    for x, said in zip((columns.output, *columns.counts), HEADINGS[2:], strict=True):
        yield Text(x, 14, said, "small", "end")


def _line(line: Line, columns: Columns, y: int) -> Iterator[Mark]:
    middle, left, wide = y + line.height // 2, columns.middle - columns.half, 2 * columns.half
    yield Text(PAD, middle + 4, line.label, "strong")
    if line.repeated:
        yield Bar("shadow", left + 4, y + 4, wide, FLAT)
    for index, piece in enumerate(line.boxes):
        top = y + index * (FLAT + BETWEEN)
        if index:
            yield Wire(((columns.middle, top - BETWEEN), (columns.middle, top)))
        yield from piece.stretched(wide).at(left, top)
    if line.aux:
        right = left + wide
        yield Wire(((right, middle), (right + 14, middle)))
        yield Box("dense", right + 14, middle - 10, AUX - 14, 20, "aux")
    yield Text(columns.output, middle + 4, line.output, "plain", "end")
    for end, (count, said), most in zip(columns.counts, line.counts, columns.most, strict=True):
        if said:
            yield Text(end, middle + 2, said, "small", "end")
            yield Bar("share", end - columns.share, middle + 6, max(1, columns.share * count // most), 5)
