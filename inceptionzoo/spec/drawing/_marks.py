"""What a picture is made of: boxes, wires, texts and bars at whole pixels, and pieces that hold some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ._text import measure

WIRE = 12  # between two boxes of a chain
FLAT = 24  # the height of a box of one line
TALL = 38  # of one with a note below


@dataclass(frozen=True, slots=True)
class Box:
    """A box that says something: a kind, which gives its colour, and a title, with a note below, or beside where it is flat."""

    kind: str
    x: int
    y: int
    width: int
    height: int
    title: str
    note: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle that says nothing: a share, a band, a card."""

    kind: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Wire:
    """A line through points, which goes across and down."""

    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Words that start, have their middle or end at x, on the base line y; `role` is one of `text.ROLES`."""

    x: int
    y: int
    words: str
    role: str = "plain"
    anchor: str = "start"


Mark = Box | Bar | Wire | Text


@dataclass(frozen=True, slots=True)
class Piece:
    """Marks within (0, 0, width, height); the wire goes in above and out below at half the width, which is even.

    `axes` are the middles of the branches that stand side by side in it.
    """

    width: int
    height: int
    marks: tuple[Mark, ...] = ()
    axes: tuple[int, ...] = ()

    def at(self, x: int, y: int) -> tuple[Mark, ...]:
        """Return its marks with the upper left corner at (x, y)."""
        return tuple(_moved(mark, x, y) for mark in self.marks)

    def stretched(self, width: int) -> Piece:
        """Return a piece that is one box, wider."""
        boxes = tuple(replace(mark, width=width) for mark in self.marks if isinstance(mark, Box))
        return replace(self, width=width, marks=boxes)


def _moved(mark: Mark, dx: int, dy: int) -> Mark:
    if isinstance(mark, Wire):
        return Wire(tuple((x + dx, y + dy) for x, y in mark.points))
    return replace(mark, x=mark.x + dx, y=mark.y + dy)


def even(size: int) -> int:
    """Return the next even number, so that the middle is a whole pixel."""
    return size + size % 2


def box(kind: str, title: str, note: str = "", *, flat: bool = False, least: int = 56, hint: str = "") -> Piece:
    """Return a box as wide as its words, and at least `least`."""
    heading, below = measure(title, "strong"), measure(note, "small")
    words = heading + below + measure(" ") if flat and note else max(heading, below)
    wide, high = even(max(words + 12, least)), TALL if note and not flat else FLAT
    return Piece(wide, high, (Box(kind, 0, 0, wide, high, title, note, hint),))


def stack(pieces: Sequence[Piece], gaps: Iterable[int] | None = None) -> Piece:
    """Return pieces one below the other, with wires between them; `gaps` are the wires' lengths."""
    wide, y, marks = max(piece.width for piece in pieces), 0, list[Mark]()
    lengths = [0, *(gaps if gaps is not None else [WIRE] * (len(pieces) - 1))]
    for gap, piece in zip(lengths, pieces, strict=True):
        if gap:
            marks.append(Wire(((wide // 2, y), (wide // 2, y + gap))))
        marks += piece.at((wide - piece.width) // 2, y + gap)
        y += gap + piece.height
    return Piece(wide, y, tuple(marks))


def fork(branches: Sequence[Piece], joint: tuple[str, str, str], least: Sequence[int] = ()) -> Piece:
    """Return branches side by side, from where they part to a box of kind, title and note where they join."""
    widths = [even(max(sizes)) for sizes in zip((b.width for b in branches), least or [0] * len(branches), strict=True)]
    side, inner = WIRE, sum(widths) + WIRE * (len(branches) - 1)
    join = box(*joint, flat=True, least=even(inner))
    middle, bottom = join.width // 2, 2 * side + max(branch.height for branch in branches) + WIRE
    marks, axes, x = list[Mark](), [], (join.width - even(inner)) // 2
    for branch, wide in zip(branches, widths, strict=True):
        axis = x + wide // 2
        across = () if axis == middle else ((middle, side), (axis, side))
        marks.append(Wire(((middle, 0), *across, (axis, 2 * side))))
        marks += branch.at(axis - branch.width // 2, 2 * side)
        marks.append(Wire(((axis, 2 * side + branch.height), (axis, bottom))))
        axes.append(axis)
        x += wide + WIRE
    return Piece(join.width, bottom + join.height, (*marks, *join.at(0, bottom)), tuple(axes))
