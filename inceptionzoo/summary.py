"""The paper's table of any model, computed from its specification."""

from __future__ import annotations

from dataclasses import dataclass

from .cost import Cost, Shape
from .errors import ArgumentError, check_size
from .net import Net
from .network import Network
from .network_cost import head_cost, network_cost, stage_costs
from .registry import find, make_network
from .spec import Act, Chain, Concat, Conv, Depthwise, Layer, Norm, Op, Pool, Residual, pair


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
        table = [HEADINGS, *(row.cells for row in self.rows), self.total.cells]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(HEADINGS))]
        lines = ["  ".join(_align(cell, widths[i], i) for i, cell in enumerate(cells)).rstrip() for cells in table]
        rule = "-" * max(map(len, lines))
        channels, height, width = self.input_size
        return "\n".join([f"{self.title}, input {height}x{width}x{channels}", lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __repr__(self) -> str:
        return f"<Summary of {self.title}: {self.total.cost.params:,} params, {self.total.cost.macs:,} multiply-adds>"


def summary(model: str | Net | Network, *, input_size: tuple[int, int, int] | None = None) -> Summary:
    """Print the table of a model, as its paper has it, and return it: stages, shapes, depth, branch widths and cost.

    `model` is a name, a model or a network; `input_size` (c, h, w) is the model's own unless given. `weights` counts the
    kernels alone, as the GoogLeNet paper does, `params` biases and normalisation too. A branch reads "96 > 128": 96
    channels, then 128.

    Raises:
        UnknownModelError: no such model.
        InputError: the input is too small.
    """
    title, network, classes, own = _subject(model)
    size = own if input_size is None else tuple(input_size) if isinstance(input_size, list) else input_size
    check_size("input_size", size)
    shape = Shape(*size)
    rows = [Row(name, _patch(layer), _branches(layer), cost) for name, layer, cost in stage_costs(network, shape)]
    last = rows[-1].cost.shape
    rows.append(
        Row("head", network.head.kind, " > ".join(map(str, network.head.hidden)), head_cost(network.head, last, classes))
    )
    total = network_cost(network, shape, classes)
    result = Summary(title, (shape.channels, shape.height, shape.width), tuple(rows), Row("total", "", "", total))
    print(result)
    return result


def _subject(model: str | Net | Network) -> tuple[str, Network, int, tuple[int, int, int]]:
    if isinstance(model, Network):
        return "network", model, 1000, (3, 224, 224)
    if isinstance(model, Net):
        title = model.entry.name if model.entry else "network"
        return title, model.network, model.num_classes, (model.in_chans, *model.data.input_size[1:])
    if not isinstance(model, str):
        raise ArgumentError(f"model of type {type(model).__name__}: summary takes a name, a model or a network")
    entry = find(model)
    return entry.name, make_network(entry, {}), entry.num_classes, entry.data.input_size


def _align(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column in (0, 1, 4) else cell.rjust(width)


def _patch(layer: Layer) -> str:
    """Return "7x7/2" of the layer that gives a stage its name: the largest convolution of a chain, or the pool."""
    match layer:
        case Conv() | Depthwise() | Pool():
            height, width = pair(layer.kernel)
            return f"{height}x{width}/{layer.stride}"
        case Chain():
            kernels = [step for step in layer.layers if isinstance(step, Conv | Depthwise | Pool)]
            return _patch(max(kernels, key=lambda step: pair(step.kernel))) if kernels else ""
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
