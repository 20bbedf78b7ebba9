"""Where the cards go: below the spine and beside it, on shelves of cards side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ._card import Card
from ._marks import Mark, Piece

GAP, STEP, MOST = 16, 20, 640  # between cards; widths that are tried for the column beside the spine, up to the last


@dataclass(slots=True)
class Column:
    """Shelves of cards, one below the other, from (x, top) on; `end` is where the next would stand."""

    x: int
    top: int
    width: int
    end: int
    shelves: list[list[Card]] = field(default_factory=list)

    def has_room(self, card: Card) -> bool:
        """Return whether the card fits on the last shelf."""
        return bool(self.shelves) and _width([*self.shelves[-1], card]) <= self.width

    def put(self, card: Card) -> None:
        """Put a card on the last shelf, where there is room, else on a new one."""
        if self.has_room(card):
            self.end -= _height(self.shelves[-1]) + GAP
            self.shelves[-1].append(card)
        else:
            self.shelves.append([card])
        self.end += _height(self.shelves[-1]) + GAP

    def drawn(self) -> Iterator[Mark]:
        """Yield the cards, which share what room is left on their shelf."""
        y = self.top
        for shelf in self.shelves:
            x, high, spare = self.x, _height(shelf), (self.width - _width(shelf)) // len(shelf) // 2 * 2
            for card in shelf:
                yield from card.drawn(card.width + spare, high).at(x, y)
                x += card.width + spare + GAP
            y += high + GAP


def pack(spine: Piece, cards: Sequence[Card]) -> Piece:
    """Return the spine and the cards in two columns: of several widths of the second, the one that keeps the page small."""
    if not cards:
        return spine
    least = max(card.width for card in cards)
    tried = [_filled(spine, cards, width) for width in range(least, max(least, MOST) + 1, STEP)]
    below, beside = min(tried, key=lambda two: two[1].width + max(column.end for column in two))
    high = max(spine.height, below.end - GAP, beside.end - GAP)
    return Piece(beside.x + beside.width, high, (*spine.marks, *below.drawn(), *beside.drawn()))


def _filled(spine: Piece, cards: Sequence[Card], width: int) -> tuple[Column, Column]:
    """Return the columns below and beside the spine, with each card where there is room for it, else where it is highest."""
    start = spine.height + GAP
    columns = Column(0, start, spine.width, start), Column(spine.width + GAP, 0, width, 0)
    for card in cards:
        roomy = [column for column in columns if column.has_room(card)]
        wide = [column for column in columns if card.width <= column.width]
        (roomy[0] if roomy else min(wide, key=lambda column: column.end)).put(card)
    return columns


def _width(shelf: Sequence[Card]) -> int:
    return sum(card.width for card in shelf) + GAP * (len(shelf) - 1)


def _height(shelf: Sequence[Card]) -> int:
    return max(card.height for card in shelf)
