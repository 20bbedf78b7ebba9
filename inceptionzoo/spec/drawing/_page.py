"""The whole page: a heading, the table of stages, and the panels around it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from .. import Cost, GlobalPool, Layer, Network, Shape, Style, head_cost, layer_cost, network_cost, stage_costs, stated_dims
from ._arrange import arrange
from ._elements import Group, Rect, Text, next_even
from ._labels import act_name, format_count, head_labels, norm_name
from ._panel import Panel, aux_panel, block_panel, layer_figure
from ._stage_groups import by_letter, group_stages
from ._stage_table import draw_stage_table, head_line, stage_line
from ._text import measure

MARGIN, HEADING = 24, 92


def network_page(
    title: str, network: Network, shape: Shape, num_classes: int, pool: GlobalPool, *, full: bool
) -> tuple[Group, str]:
    """Return the drawing of a network for images of `shape`, and its description as text."""
    rows, total = group_stages(network, shape, full=full), network_cost(network, shape, num_classes, pool=pool)
    taps, style = [aux.tap for aux in network.aux], network.style
    lines = [stage_line(row, style, taps) for row in rows]
    labels = head_labels(network.head, num_classes, pool, rows[-1].cost.shape)
    if labels:
        lines.append(head_line(labels, head_cost(network.head, rows[-1].cost.shape, num_classes, pool)))
    panels = [block_panel(letter, alike, style) for letter, alike in by_letter(rows).items()]
    panels += _aux_panels(network, shape, num_classes)
    description = _description(network, shape, num_classes, total)
    heading = _heading(title, description)
    stage_table = draw_stage_table(lines, 0 if panels else heading.width)
    return _framed(arrange(stage_table, panels), heading), "; ".join(description)


def layer_page(layer: Layer, before: Shape | None) -> tuple[Group, str]:
    """Return the drawing of a layer and its description as text. `before` is the input shape; None is any input.

    Without it, the layer is for as many dimensions as one of its sizes states, else for two.
    """
    cost, dims = (None, stated_dims(layer) or 2) if before is None else (layer_cost(layer, before), len(before.size))
    style = Style(spatial_dims=dims)
    figure = layer_figure(layer, before, None if cost is None else cost.shape, style)
    description = "on any input" if cost is None else f"{before} to {cost.shape}, {_counts(cost)}"
    return _framed(figure, Group(0, MARGIN)), description


def _aux_panels(network: Network, shape: Shape, num_classes: int) -> list[Panel]:
    """Return the panels of the auxiliary heads; equal heads share one."""
    shapes, panels = {name: cost.shape for name, _, cost in stage_costs(network, shape)}, []
    for (layers, head, _), group in groupby(network.aux, key=lambda aux: (aux.layers, aux.head, aux.weight)):
        alike = list(group)
        taps, befores = [aux.tap for aux in alike], [shapes[aux.tap] for aux in alike]
        labels = head_labels(head, num_classes, "avg", layer_cost(layers, befores[0]).shape)
        panels.append(aux_panel(alike[0], taps, befores, labels, network.style))
    return panels


def _description(network: Network, shape: Shape, num_classes: int, total: Cost) -> tuple[str, str]:
    classes = f"{num_classes} classes" if num_classes else "features"
    style = network.style
    each = ["bias"] * style.bias + [norm_name(style)] * (style.norm is not None)
    return (
        f"{shape} image to {classes}, {total.depth} layers deep; convolutions with {', '.join([*each, act_name(style)])}",
        _counts(total),
    )


def _counts(cost: Cost) -> str:
    bound = "" if cost.complete else "at least "
    return f"{bound}{format_count(cost.params)} parameters, {format_count(cost.macs)} multiply-adds"


def _heading(title: str, description: Sequence[str]) -> Group:
    elements = (
        Text(MARGIN, 40, title, "title"),
        *(Text(MARGIN, 60 + 16 * i, line, "small") for i, line in enumerate(description)),
    )
    return Group(next_even(max(measure(title, "title"), *(measure(line, "small") for line in description))), HEADING, elements)


def _framed(body: Group, heading: Group) -> Group:
    """Return the page: the heading over the body, with a margin around both."""
    wide, high = 2 * MARGIN + max(body.width, heading.width), heading.height + body.height + MARGIN
    return Group(wide, high, (Rect("page", 0, 0, wide, high), *heading.elements, *body.at(MARGIN, heading.height)))
