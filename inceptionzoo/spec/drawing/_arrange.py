"""The layout of a page: panels in rows, called shelves, below and beside the table of stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ._elements import Element, Group
from ._panel import Panel

GAP = 16  # between panels
STEP, MAX_WIDTH = 20, 640  # the widths that are tried for the column beside the table


@dataclass(slots=True)
class Column:
    """A column of shelves from (x, top) down; panels stand side by side on a shelf. `end` is the y of the next shelf."""

    x: int
    top: int
    width: int
    end: int
    shelves: list[list[Panel]] = field(default_factory=list)

    def has_room(self, panel: Panel) -> bool:
        """Return whether the panel fits on the last shelf."""
        return bool(self.shelves) and _width([*self.shelves[-1], panel]) <= self.width

    def put(self, panel: Panel) -> None:
        """Put a panel on the last shelf if it fits, else on a new one."""
        if self.has_room(panel):
            self.end -= _height(self.shelves[-1]) + GAP
            self.shelves[-1].append(panel)
        else:
            self.shelves.append([panel])
        self.end += _height(self.shelves[-1]) + GAP

    def drawn(self) -> Iterator[Element]:
        """Yield the elements of the panels. The panels of a shelf are widened to share its remaining width."""
        y = self.top
        for shelf in self.shelves:
            x, high, spare = self.x, _height(shelf), (self.width - _width(shelf)) // len(shelf) // 2 * 2
            for panel in shelf:
                yield from panel.drawn(panel.width + spare, high).at(x, y)
                x += panel.width + spare + GAP
            y += high + GAP


def arrange(stage_table: Group, panels: Sequence[Panel]) -> Group:
    """Return the table with the panels below and beside it, laid out so that width + height is smallest."""
    if not panels:
        return stage_table
    min_width = max(panel.width for panel in panels)
    tried = [_filled(stage_table, panels, width) for width in range(min_width, max(min_width, MAX_WIDTH) + 1, STEP)]
    below, beside = min(tried, key=lambda two: two[1].width + max(column.end for column in two))
    high = max(stage_table.height, below.end - GAP, beside.end - GAP)
    return Group(beside.x + beside.width, high, (*stage_table.elements, *below.drawn(), *beside.drawn()))


def _filled(stage_table: Group, panels: Sequence[Panel], width: int) -> tuple[Column, Column]:
    """Return the filled columns. A panel goes on a shelf with room, else into the shortest column that is wide enough."""
    start = stage_table.height + GAP
    columns = Column(0, start, stage_table.width, start), Column(stage_table.width + GAP, 0, width, 0)
    for panel in panels:
        roomy = [column for column in columns if column.has_room(panel)]
        wide = [column for column in columns if panel.width <= column.width]
        (roomy[0] if roomy else min(wide, key=lambda column: column.end)).put(panel)
    return columns


def _width(shelf: Sequence[Panel]) -> int:
    return sum(panel.width for panel in shelf) + GAP * (len(shelf) - 1)


def _height(shelf: Sequence[Panel]) -> int:
    return max(panel.height for panel in shelf)
