"""What a whole network costs, stage by stage, and the smallest image it takes; from the value alone. No torch."""

from __future__ import annotations

from functools import lru_cache

from .cost import Cost, Shape, cost
from .errors import InputError, SpecError
from .network import Head, Network
from .spec import Layer

LARGEST_SIZE = 4096


def head_cost(head: Head, shape: Shape, num_classes: int) -> Cost:
    """Return the cost of a head with average pooling on a map of `shape`; its shape is (num_classes, 1, 1)."""
    positions = 1
    if head.kind == "conv":
        positions = (max(shape.height, head.size) - head.size + 1) * (max(shape.width, head.size) - head.size + 1)
    fan_in = shape.channels * (head.size**2 if head.hidden else 1)
    whole = Cost(shape)
    for index, out in enumerate((*head.hidden, num_classes)):
        slid = positions if index < len(head.hidden) else 1
        dense = Cost(Shape(out, 1, 1), fan_in * out, fan_in * out + out, fan_in * out * slid, int(out > 0))
        whole, fan_in = whole.then(dense), out
    return whole


def stage_costs(net: Network, shape: Shape) -> list[tuple[str, Layer, Cost]]:
    """Return (name, layer, cost) of every stage on images of `shape`."""
    rows = []
    for name, layer in net.stages:
        row = cost(layer, shape, net.style)
        rows.append((name, layer, row))
        shape = row.shape
    return rows


def network_cost(net: Network, shape: Shape, num_classes: int, *, aux: bool = False) -> Cost:
    """Return the cost of the whole network, its auxiliary heads included where `aux`."""
    whole, extra = Cost(shape), []
    for name, layer in net.stages:
        whole = whole.then(cost(layer, whole.shape, net.style))
        for head in net.aux if aux else ():
            if head.tap == name:
                branch = cost(head.layers, whole.shape, net.style)
                extra.append(branch.then(head_cost(head.head, branch.shape, num_classes)))
    whole = whole.then(head_cost(net.head, whole.shape, num_classes))
    return whole.beside(*extra, shape=whole.shape)


@lru_cache(maxsize=256)
def min_input_size(net: Network, *, in_channels: int = 3, aux: bool = False) -> int:
    """Return the side of the smallest square image that the network accepts, in pixels.

    Raises:
        SpecError: not even an image of LARGEST_SIZE pixels fits.
    """

    def fits(side: int) -> bool:
        try:
            network_cost(net, Shape(in_channels, side, side), 1, aux=aux)
        except InputError:
            return False
        return True

    if not fits(LARGEST_SIZE):
        raise SpecError(f"network: not even an image of {LARGEST_SIZE} pixels fits; check its valid paddings and strides")
    low, high = 0, LARGEST_SIZE  # too small, large enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
