"""The paper's table of any model, computed from its specification."""

from __future__ import annotations

from dataclasses import dataclass

from ._cost import Cost, Shape
from ._layers import Act, Chain, Concat, Conv, Depthwise, Layer, Norm, Op, Pool, Residual, as_pair
from ._network import Network
from ._network_cost import head_cost, network_cost, stage_costs
from ._terminal import BOLD, DIM, paint, shade, tint


@dataclass(frozen=True, slots=True)
class Row:
    """A stage: its name, patch and stride, output (height x width x channels), branches and cost for one image."""

    name: str
    patch: str
    branches: str
    cost: Cost

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as printed; weights and params in units, multiply-adds in millions."""
        least = "" if self.cost.complete else ">= "
        depth = str(self.cost.depth) if self.cost.depth else ""
        counts = (f"{least}{self.cost.weights:,}", f"{least}{self.cost.params:,}", f"{least}{self.cost.macs / 1e6:,.1f}M")
        shown = counts if self.cost.params or self.cost.macs else ("", "", "")
        return (self.name, self.patch, str(self.cost.shape), depth, self.branches, *shown)


HEADINGS = ("stage", "patch/stride", "output", "depth", "branches", "weights", "params", "multiply-adds")


@dataclass(frozen=True, slots=True)
class Summary:
    """The table of a network for images of `input_size` (c, h, w): its rows, and their total."""

    title: str
    input_size: tuple[int, int, int]
    rows: tuple[Row, ...]
    total: Row

    def __str__(self) -> str:
        return self.text()

    def text(self, *, colour: bool = False) -> str:
        """Return the table; in `colour`, the costs of a stage stand out as they compare with the largest's."""
        table = [HEADINGS, *(row.cells for row in self.rows), self.total.cells]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(HEADINGS))]
        looks = [tuple(paint(cell, DIM) for cell in HEADINGS), *map(self._looks, self.rows), self._looks(self.total)]
        pairs = [list(zip(cells, shown, strict=True)) for cells, shown in zip(table, looks if colour else table, strict=True)]
        lines = ["  ".join(_align(*pair, widths[i], i) for i, pair in enumerate(row)).rstrip() for row in pairs]
        rule = paint("-" * (sum(widths) + 2 * len(widths) - 2), DIM if colour else "")
        channels, height, width = self.input_size
        title = paint(self.title, BOLD if colour else "")
        return "\n".join([f"{title}, input {height}x{width}x{channels}", lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _looks(self, row: Row) -> tuple[str, ...]:
        """Return the cells of a row in colour."""
        name, patch, shape, depth, branches, *counts = row.cells
        costs = [(cost.weights, cost.params, cost.macs) for cost in (row.cost, *(other.cost for other in self.rows))]
        most = [max(1, *column) for column in zip(*costs, strict=True)]
        shades = (shade(cell, own / top) for cell, own, top in zip(counts, costs[0], most, strict=True))
        return (paint(name, BOLD), patch, shape, depth, tint(branches), *shades)

    def __repr__(self) -> str:
        return f"<Summary of {self.title}: {self.total.cost.params:,} params, {self.total.cost.macs:,} multiply-adds>"


def summarize(title: str, network: Network, shape: Shape, num_classes: int) -> Summary:
    """Return the table of a network for images of `shape`.

    Raises:
        InputError: the images are too small.
    """
    rows = [Row(name, _patch(layer), _branches(layer), cost) for name, layer, cost in stage_costs(network, shape)]
    last = rows[-1].cost.shape
    hidden = " > ".join(map(str, network.head.hidden))
    rows.append(Row("head", network.head.kind, hidden, head_cost(network.head, last, num_classes)))
    total = Row("total", "", "", network_cost(network, shape, num_classes))
    return Summary(title, (shape.channels, shape.height, shape.width), tuple(rows), total)


def _align(cell: str, look: str, width: int, column: int) -> str:
    room = " " * (width - len(cell))
    return look + room if column in (0, 1, 4) else room + look


def _patch(layer: Layer) -> str:
    """Return "7x7/2" of the layer that gives a stage its name: the largest convolution of a chain, or the pool."""
    match layer:
        case Conv() | Depthwise() | Pool():
            height, width = as_pair(layer.kernel)
            return f"{height}x{width}/{layer.stride}"
        case Chain():
            kernels = [step for step in layer.layers if isinstance(step, Conv | Depthwise | Pool)]
            return _patch(max(kernels, key=lambda step: as_pair(step.kernel))) if kernels else ""
        case _:
            return ""


def _branches(layer: Layer) -> str:
    """Return the widths of a stage: branches apart by "|", layers of one by ">"."""
    match layer:
        case Conv():
            return str(layer.out)
        case Depthwise():
            return "depthwise"
        case Act():
            return "relu"
        case Pool():
            return layer.kind
        case Norm():
            return layer.kind
        case Op():
            return f"op {layer.out}"
        case Chain():
            return " > ".join(map(_branches, layer.layers))
        case Concat():
            return " | ".join(_branches(branch) for _, branch in layer.branches)
        case Residual():
            return f"+ {_branches(layer.body)}"
