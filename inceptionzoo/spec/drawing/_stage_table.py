"""The table of a network's stages: name, layers, output and share of the cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .. import Cost, Style, format_size
from ._elements import BOX_HEIGHT, Box, Connector, Element, Group, Rect, Text, box, next_even
from ._labels import Label, format_count, layer_label
from ._stage_groups import StageGroup, steps
from ._text import measure

PAD, GUTTER, AUX = 12, 16, 48  # the margins beside and between columns, and the width of the auxiliary head's mark
BETWEEN, EDGE, HEADING = 8, 6, 24  # the gaps between two boxes, around a band, and above the first band
HEADINGS = ("stage", "layers", "output", "params", "mult-adds")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of the table: its label, boxes, output and cost. Neighbouring rows with the same `band` share a background."""

    label: str
    boxes: tuple[Group, ...]
    output: str
    cost: Cost
    band: str
    repeated: bool = False
    aux: bool = False

    @property
    def height(self) -> int:
        """Height in pixels."""
        return BOX_HEIGHT * len(self.boxes) + BETWEEN * (len(self.boxes) - 1)

    @property
    def counts(self) -> tuple[tuple[int, str], ...]:
        """Parameters and multiply-adds, each as (number, text); the text is empty for an exact 0."""
        bound = "" if self.cost.complete else ">= "
        counts = (self.cost.params, self.cost.macs)
        return tuple((count, f"{bound}{format_count(count)}" if count or bound else "") for count in counts)


@dataclass(frozen=True, slots=True)
class Columns:
    """Column positions in pixels: middle and half width of the boxes, right ends of the outputs and of the two counts.

    `share` is the width of the longest bar, which stands for the largest count of its column, in `most`.
    """

    middle: int
    half: int
    output: int
    counts: tuple[int, int]
    share: int
    most: tuple[int, int]

    @classmethod
    def of(cls, lines: Sequence[TableRow], min_width: int) -> Columns:
        """Return columns that hold these rows. Their total width is at least `min_width`; boxes take the remaining width."""
        name = max(measure(label, "strong") for label in (HEADINGS[0], *(line.label for line in lines)))
        boxes = max(group.width for line in lines for group in line.boxes)
        out = max(measure(label) for label in (HEADINGS[2], *(line.output for line in lines)))
        out += AUX if any(line.aux for line in lines) else 0
        share = max(
            measure(label, "small") for label in (*HEADINGS[3:], *(label for line in lines for _, label in line.counts))
        )
        half = max(boxes, min_width - (2 * PAD + name + out + 2 * share + 4 * GUTTER)) // 2
        middle = PAD + name + GUTTER + half
        output = middle + half + GUTTER + out
        most = max(1, *(line.cost.params for line in lines)), max(1, *(line.cost.macs for line in lines))
        return cls(middle, half, output, (output + GUTTER + share, output + 2 * (GUTTER + share)), share, most)


def stage_line(row: StageGroup, style: Style, taps: Sequence[str]) -> TableRow:
    """Return the row of a group of stages; `taps` are the stages with an auxiliary head."""
    shape, count = row.cost.shape, len(row.names)
    boxes = [box(*layer_label([step], style), flat=True) for step in steps(row.layers[0])]
    if not boxes:
        hint = ", ".join(row.names) if count > 1 else ""
        boxes = [box("block", f"block {row.letter}", f"x {count}" if count > 1 else "", flat=True, hint=hint)]
    aux = any(name in taps for name in row.names)
    return TableRow(row.label, tuple(boxes), str(shape), row.cost, format_size(shape.size), count > 1, aux)


def head_line(labels: Sequence[Label], cost: Cost) -> TableRow:
    """Return the row of the head."""
    return TableRow(
        "head", tuple(box(*label, flat=True) for label in labels), str(cost.shape.channels or "features"), cost, "head"
    )


def draw_stage_table(lines: Sequence[TableRow], min_width: int) -> Group:
    """Return the table, at least `min_width` wide. Bars compare costs with the largest; rows of one map size share a band."""
    columns, y, bands, elements, ends = Columns.of(lines, min_width), HEADING, list[Element](), list[Element](), list[int]()
    wide = next_even(columns.counts[1] + PAD)
    for _, group in groupby(lines, key=lambda line: line.band):
        top, y = y, y + EDGE
        for line in group:
            elements += _line(line, columns, y)
            ends += [y, y + line.height]
            y += line.height + BETWEEN
        y += EDGE - BETWEEN
        bands.append(Rect("band", 0, top, wide, y - top))
        y += 4
    wires = [Connector(((columns.middle, a), (columns.middle, b))) for a, b in zip(ends[1:-1:2], ends[2::2], strict=True)]
    return Group(wide, y - 4, (*_headings(columns), *bands, *wires, *elements))


def _headings(columns: Columns) -> Iterator[Element]:
    yield Text(PAD, 14, HEADINGS[0], "small")
    yield Text(columns.middle, 14, HEADINGS[1], "small", "middle")
    for x, label in zip((columns.output, *columns.counts), HEADINGS[2:], strict=True):
        yield Text(x, 14, label, "small", "end")


def _line(line: TableRow, columns: Columns, y: int) -> Iterator[Element]:
    middle, left, wide = y + line.height // 2, columns.middle - columns.half, 2 * columns.half
    yield Text(PAD, middle + 4, line.label, "strong")
    if line.repeated:
        yield Rect("shadow", left + 4, y + 4, wide, BOX_HEIGHT)
    for index, group in enumerate(line.boxes):
        top = y + index * (BOX_HEIGHT + BETWEEN)
        if index:
            yield Connector(((columns.middle, top - BETWEEN), (columns.middle, top)))
        yield from group.stretched(wide).at(left, top)
    if line.aux:
        right = left + wide
        yield Connector(((right, middle), (right + 14, middle)))
        yield Box("dense", right + 14, middle - 10, AUX - 14, 20, "aux")
    yield Text(columns.output, middle + 4, line.output, "plain", "end")
    for end, (count, label), most in zip(columns.counts, line.counts, columns.most, strict=True):
        if label:
            yield Text(end, middle + 2, label, "small", "end")
            yield Rect("share", end - columns.share, middle + 6, max(1, columns.share * count // most), 5)
