"""The table of a network, as its paper prints it, computed from its specification. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._cost import Cost
from ._geometry import as_size, as_tuple, format_size
from ._layers import Chain, Concat, Layer, Op, Residual
from ._network import GlobalPool, Network
from ._network_cost import head_cost, network_cost, stage_costs
from ._shape import Shape
from ._terminal import BOLD, DIM, paint, shade, tint


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: a stage's name, kernel and stride, branches, and output shape and cost for one image."""

    name: str
    patch: str
    branches: str
    cost: Cost

    @property
    def cells(self) -> tuple[str, ...]:
        """The printed cells. Weights and params are exact counts, multiply-adds are in millions."""
        bound = "" if self.cost.complete else ">= "
        depth = str(self.cost.depth) if self.cost.depth else ""
        counts = (f"{bound}{self.cost.weights:,}", f"{bound}{self.cost.params:,}", f"{bound}{self.cost.macs / 1e6:,.1f}M")
        shown = counts if self.cost.params or self.cost.macs else ("", "", "")
        return (self.name, self.patch, str(self.cost.shape), depth, self.branches, *shown)


HEADINGS = ("stage", "patch/stride", "output", "depth", "branches", "weights", "params", "multiply-adds")
TEXT_COLUMNS = (0, 1, 4)


@dataclass(frozen=True, slots=True)
class Summary:
    """The table of a network for images of `input_size` (channels, height, width): a row per stage, the head and the total."""

    title: str
    input_size: tuple[int, ...]
    rows: tuple[Row, ...]
    total: Row

    def __str__(self) -> str:
        return self.text()

    def text(self, *, colour: bool = False) -> str:
        """Return the table; with `colour`, ANSI codes highlight the stages with the largest costs."""
        table = [HEADINGS, *(row.cells for row in self.rows), self.total.cells]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(HEADINGS))]
        coloured = [tuple(paint(cell, DIM) for cell in HEADINGS), *map(self._coloured, self.rows), self._coloured(self.total)]
        pairs = [list(zip(*cells, strict=True)) for cells in zip(table, coloured if colour else table, strict=True)]
        lines = ["  ".join(_align(*pair, widths[i], i) for i, pair in enumerate(row)).rstrip() for row in pairs]
        rule = paint("-" * (sum(widths) + 2 * len(widths) - 2), DIM if colour else "")
        title = paint(self.title, BOLD if colour else "")
        return "\n".join([f"{title}, input {Shape(*self.input_size)}", lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _coloured(self, row: Row) -> tuple[str, ...]:
        name, patch, shape, depth, branches, *counts = row.cells
        costs = [(cost.weights, cost.params, cost.macs) for cost in (row.cost, *(other.cost for other in self.rows))]
        largest = [max(1, *column) for column in zip(*costs, strict=True)]
        shades = (shade(cell, value / top) for cell, value, top in zip(counts, costs[0], largest, strict=True))
        return (paint(name, BOLD), patch, shape, depth, tint(branches), *shades)

    def __repr__(self) -> str:
        return f"<Summary of {self.title}: {self.total.cost.params:,} params, {self.total.cost.macs:,} multiply-adds>"


def summarize(title: str, network: Network, shape: Shape, num_classes: int, pool: GlobalPool) -> Summary:
    """Return the table of a network for images of `shape`; `pool` is the pooling of its head.

    Raises:
        InputError: the images are too small.
    """
    act = network.style.act if isinstance(network.style.act, str) else getattr(network.style.act, "__name__", "act")
    dims = network.spatial_dims
    rows = [Row(name, _patch(layer, dims), _branches(layer, act), cost) for name, layer, cost in stage_costs(network, shape)]
    last = rows[-1].cost.shape
    hidden = " > ".join(map(str, network.head.hidden))
    rows.append(Row("head", network.head.kind, hidden, head_cost(network.head, last, num_classes, pool)))
    total = Row("total", "", "", network_cost(network, shape, num_classes, pool=pool))
    return Summary(title, tuple(shape), tuple(rows), total)


def _align(cell: str, coloured: str, width: int, column: int) -> str:
    """Return the cell padded to `width`; texts are aligned left, numbers right."""
    padding = " " * (width - len(cell))
    return coloured + padding if column in TEXT_COLUMNS else padding + coloured


def _patch(layer: Layer, dims: int) -> str:
    """Return the kernel and stride, for example "7x7/2". A chain has those of its largest kernel by area, branches none."""
    match layer:
        case Conv() | Depthwise() | Pool():
            return f"{format_size(as_tuple(layer.kernel, dims))}/{format_size(as_size(as_tuple(layer.stride, dims)))}"
        case Chain():
            kernels = [step for step in _steps(layer) if isinstance(step, Conv | Depthwise | Pool)]
            return _patch(max(kernels, key=lambda step: math.prod(as_tuple(step.kernel, dims))), dims) if kernels else ""
        case _:
            return ""


def _steps(layer: Layer) -> list[Layer]:
    """Return the layers of a chain and of the chains inside it, in order; a layer of another kind alone."""
    return [step for inner in layer.layers for step in _steps(inner)] if isinstance(layer, Chain) else [layer]


def _branches(layer: Layer, act: str) -> str:
    """Return the channels of a stage: "|" separates branches, ">" the layers of a branch. `act` names the activation."""
    match layer:
        case Conv():
            return str(layer.out)
        case Depthwise():
            return "depthwise"
        case Act():
            return act
        case Pool():
            return layer.kind
        case Norm():
            return "norm" if layer.kind == "style" else layer.kind
        case Op():
            return f"op {layer.out}"
        case Chain():
            texts = [(_branches(step, act), isinstance(step, Concat)) for step in layer.layers]
            return " > ".join(f"({text})" if is_joined else text for text, is_joined in texts)
        case Concat():
            return " | ".join(_branches(branch, act) for _, branch in layer.branches)
        case Residual():
            return f"+ {_branches(layer.body, act)}"
