"""The elements of a drawing (boxes, connectors, texts and rectangles, at whole pixels) and groups of elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ._text import measure

CONNECTOR_LENGTH = 12  # between two boxes of a chain
BOX_HEIGHT = 24  # the height of a box of one line
NOTE_BOX_HEIGHT = 38  # the height of a box with a note below its title


@dataclass(frozen=True, slots=True)
class Box:
    """A box with a title, and a note below it, or beside it if the box is flat. `kind` selects its colour."""

    kind: str
    x: int
    y: int
    width: int
    height: int
    title: str
    note: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle without text: a bar, a band, or the frame of a panel."""

    kind: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Connector:
    """A line through points, made of horizontal and vertical segments."""

    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text at the base line y that starts, is centred or ends at x; `role` is a key of `_text.ROLES`."""

    x: int
    y: int
    content: str
    role: str = "plain"
    anchor: str = "start"


Element = Box | Rect | Connector | Text


@dataclass(frozen=True, slots=True)
class Group:
    """Elements within (0, 0, width, height). Connectors enter at the middle of the top and leave at that of the bottom.

    `width` is even. `branch_centers` are the x of the parallel branches, if there are any.
    """

    width: int
    height: int
    elements: tuple[Element, ...] = ()
    branch_centers: tuple[int, ...] = ()

    def at(self, x: int, y: int) -> tuple[Element, ...]:
        """Return the elements, moved so that the group's upper left corner is at (x, y)."""
        return tuple(_moved(element, x, y) for element in self.elements)

    def stretched(self, width: int) -> Group:
        """Return this group of one box with another width."""
        boxes = tuple(replace(element, width=width) for element in self.elements if isinstance(element, Box))
        return replace(self, width=width, elements=boxes)


def _moved(element: Element, dx: int, dy: int) -> Element:
    if isinstance(element, Connector):
        return Connector(tuple((x + dx, y + dy) for x, y in element.points))
    return replace(element, x=element.x + dx, y=element.y + dy)


def next_even(size: int) -> int:
    """Return `size` rounded up to an even number, so that the middle is a whole pixel."""
    return size + size % 2


def box(kind: str, title: str, note: str = "", *, flat: bool = False, min_width: int = 56, hint: str = "") -> Group:
    """Return a box as wide as its text, but at least `min_width`."""
    heading, below = measure(title, "strong"), measure(note, "small")
    text_width = heading + below + measure(" ") if flat and note else max(heading, below)
    wide, high = next_even(max(text_width + 12, min_width)), NOTE_BOX_HEIGHT if note and not flat else BOX_HEIGHT
    return Group(wide, high, (Box(kind, 0, 0, wide, high, title, note, hint),))


def stack(groups: Sequence[Group], gaps: Iterable[int] | None = None) -> Group:
    """Return groups one below the other; `gaps` are the lengths of the connectors between them."""
    wide, y, elements = max(group.width for group in groups), 0, list[Element]()
    lengths = [0, *(gaps if gaps is not None else [CONNECTOR_LENGTH] * (len(groups) - 1))]
    for gap, group in zip(lengths, groups, strict=True):
        if gap:
            elements.append(Connector(((wide // 2, y), (wide // 2, y + gap))))
        elements += group.at((wide - group.width) // 2, y + gap)
        y += gap + group.height
    return Group(wide, y, tuple(elements))


def fork(branches: Sequence[Group], join_label: tuple[str, str, str], min_width: Sequence[int] = ()) -> Group:
    """Return branches side by side, with connectors from one point above and to a joining box below."""
    widths = [
        next_even(max(sizes)) for sizes in zip((b.width for b in branches), min_width or [0] * len(branches), strict=True)
    ]
    side, inner = CONNECTOR_LENGTH, sum(widths) + CONNECTOR_LENGTH * (len(branches) - 1)
    join = box(*join_label, flat=True, min_width=next_even(inner))
    middle, bottom = join.width // 2, 2 * side + max(branch.height for branch in branches) + CONNECTOR_LENGTH
    elements, axes, x = list[Element](), [], (join.width - next_even(inner)) // 2
    for branch, wide in zip(branches, widths, strict=True):
        axis = x + wide // 2
        across = () if axis == middle else ((middle, side), (axis, side))
        elements.append(Connector(((middle, 0), *across, (axis, 2 * side))))
        elements += branch.at(axis - branch.width // 2, 2 * side)
        elements.append(Connector(((axis, 2 * side + branch.height), (axis, bottom))))
        axes.append(axis)
        x += wide + CONNECTOR_LENGTH
    return Group(join.width, bottom + join.height, (*elements, *join.at(0, bottom)), tuple(axes))
