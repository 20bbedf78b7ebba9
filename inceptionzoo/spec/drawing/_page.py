"""The whole picture: a heading, the spine, and the cards around it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from .. import Cost, GlobalPool, Layer, Network, Shape, Style, head_cost, layer_cost, network_cost, stage_costs
from ._card import Card, aux_card, block_card, layer_figure
from ._marks import Bar, Piece, Text, even
from ._pack import pack
from ._rows import by_letter, make_rows
from ._spine import draw_spine, head_line, stage_line
from ._text import measure
from ._words import act_name, head_words, norm_name, number

MARGIN, HEADING = 24, 92


def network_page(
    title: str, network: Network, shape: Shape, num_classes: int, pool: GlobalPool, *, full: bool
) -> tuple[Piece, str]:
    """Return the picture of a network on images of `shape`, and what it shows in words."""
    rows, total = make_rows(network, shape, full=full), network_cost(network, shape, num_classes)
    taps, style = [aux.tap for aux in network.aux], network.style
    lines = [stage_line(row, style, taps) for row in rows]
    said = head_words(network.head, num_classes, pool, rows[-1].cost.shape)
    if said:
        lines.append(head_line(said, head_cost(network.head, rows[-1].cost.shape, num_classes)))
    cards = [block_card(letter, alike, style) for letter, alike in by_letter(rows).items()]
    cards += _aux_cards(network, shape, num_classes)
    about = _about(network, shape, num_classes, total)
    heading = _heading(title, about)
    spine = draw_spine(lines, 0 if cards else heading.width)
    return _framed(pack(spine, cards), heading), "; ".join(about)


def layer_page(layer: Layer, before: Shape | None) -> tuple[Piece, str]:
    """Return the picture of a layer by itself, on an input of `before` or of any shape, and what it shows in words."""
    spent = None if before is None else layer_cost(layer, before)
    figure = layer_figure(layer, before, None if spent is None else spent.shape, Style())
    about = "on any input" if spent is None else f"{before} to {spent.shape}, {_counts(spent)}"
    return _framed(figure, Piece(0, MARGIN)), about


def _aux_cards(network: Network, shape: Shape, num_classes: int) -> list[Card]:
    """Return the cards of the auxiliary heads; heads that are alike share one."""
    shapes, cards = {name: spent.shape for name, _, spent in stage_costs(network, shape)}, []
    for (layers, head, _), group in groupby(network.aux, key=lambda aux: (aux.layers, aux.head, aux.weight)):
        alike = list(group)
        taps, befores = [aux.tap for aux in alike], [shapes[aux.tap] for aux in alike]
        said = head_words(head, num_classes, "avg", layer_cost(layers, befores[0]).shape)
        cards.append(aux_card(alike[0], taps, befores, said, network.style))
    return cards


def _about(network: Network, shape: Shape, num_classes: int, total: Cost) -> tuple[str, str]:
    classes = f"{num_classes} classes" if num_classes else "features"
    style = network.style
    each = ["bias"] * style.bias + [norm_name(style)] * (style.norm is not None)
    return (
        f"{shape} image to {classes}, {total.depth} layers deep; convolutions with {', '.join([*each, act_name(style)])}",
        _counts(total),
    )


def _counts(spent: Cost) -> str:
    least = "" if spent.complete else "at least "
    return f"{least}{number(spent.params)} parameters, {number(spent.macs)} multiply-adds"


def _heading(title: str, about: Sequence[str]) -> Piece:
    marks = Text(MARGIN, 40, title, "title"), *(Text(MARGIN, 60 + 16 * i, line, "small") for i, line in enumerate(about))
    return Piece(even(max(measure(title, "title"), *(measure(line, "small") for line in about))), HEADING, marks)


def _framed(body: Piece, heading: Piece) -> Piece:
    """Return the page: the heading over the body, with a margin around both."""
    wide, high = 2 * MARGIN + max(body.width, heading.width), heading.height + body.height + MARGIN
    return Piece(wide, high, (Bar("page", 0, 0, wide, high), *heading.marks, *body.at(MARGIN, heading.height)))
