"""What a whole network costs, stage by stage, and the smallest image it takes; from the value alone. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import SupportsIndex

from ..errors import ArgumentError, InputError, SpecError, suggestion
from ._cost import Cost, Shape, layer_cost, out_channels, total_stride
from ._layers import Layer
from ._network import Head, Network

Indices = int | Sequence[int | str] | None
MAX_SIZE = 4096
TRIED_SIZES = 64  # branches that round differently may agree at every n-th size only


@dataclass(frozen=True, slots=True)
class FeatureLevel:
    """The output of a stage: its name, its channels, and how many times smaller than the image it is."""

    name: str
    channels: int
    reduction: int


def stage_levels(net: Network, in_channels: int) -> list[FeatureLevel]:
    """Return channels and reduction of every stage, in order."""
    rows, channels, reduction = [], in_channels, 1
    for name, layer in net.stages:
        channels, reduction = out_channels(layer, channels), reduction * total_stride(layer)
        rows.append(FeatureLevel(name, channels, reduction))
    return rows


def feature_levels(net: Network, in_channels: int) -> list[FeatureLevel]:
    """Return the last stage of every resolution, the finest first: reductions 2, 4, 8, 16, 32 of a network for ImageNet.

    The resolution of the image itself is a level only where there are fewer than five others.
    """
    stages = stage_levels(net, in_channels)
    if net.taps:
        return [level for level in stages if level.name in net.taps]
    last = {level.reduction: level for level in stages}
    if len(last) > 5:
        last.pop(1, None)
    return list(last.values())


def resolve_stages(argument: str, indices: Indices, named: list[str], stages: list[str]) -> list[str]:
    """Return the names of the stages that `indices` mean, in the network's order.

    They are indices of `named`, the stages that are levels; or names of `stages`, or the last so many levels.

    Raises:
        ArgumentError: an index is no level, or a name no stage; the message calls the indices `argument`.
    """
    if indices is None:
        return named
    if isinstance(indices, int):
        if isinstance(indices, bool) or not 1 <= indices <= len(named):
            raise ArgumentError(f"{argument}={indices!r} must lie in 1..{len(named)}, the number of levels")
        return named[-indices:]
    if isinstance(indices, str) or not hasattr(indices, "__iter__"):
        raise ArgumentError(f"{argument}={indices!r} must be a number, or a list of levels and of names of stages")
    wanted = {_find_stage(argument, index, named, stages) for index in indices}
    if not wanted:
        raise ArgumentError(f"{argument}={indices!r} must name at least one level or stage")
    return [name for name in stages if name in wanted]


def _find_stage(argument: str, index: object, named: list[str], stages: list[str]) -> str:
    if isinstance(index, str):
        if index not in stages:
            raise ArgumentError(
                f"{argument}: unknown stage {index!r}{suggestion(index, stages)} Stages are {', '.join(stages)}"
            )
        return index
    if isinstance(index, bool) or not isinstance(index, SupportsIndex) or not -len(named) <= index.__index__() < len(named):
        raise ArgumentError(f"{argument}: {index!r} must lie in {-len(named)}..{len(named) - 1}, the levels of feature_info")
    return named[index]


def head_cost(head: Head, shape: Shape, num_classes: int) -> Cost:
    """Return the cost of a head with average pooling on a map of `shape`; its shape is (num_classes, 1, 1)."""
    positions = 1
    if head.kind == "conv":
        positions = (max(shape.height, head.size) - head.size + 1) * (max(shape.width, head.size) - head.size + 1)
    fan_in = shape.channels * (head.size**2 if head.hidden else 1)
    whole, embed = Cost(shape), head.kind == "embed"
    for index, out in enumerate((*head.hidden, num_classes)):
        slid, normed = (positions, embed) if index < len(head.hidden) else (1, False)
        params = fan_in * out + out * (2 if normed else 1)  # scale and shift, or bias
        dense = Cost(
            Shape(out, 1, 1),
            fan_in * out,
            params,
            fan_in * out * slid,
            int(out > 0),
            1 if normed and head.norm == "batch" else None,
        )
        whole, fan_in = whole.then(dense), out
    return whole


def stage_costs(net: Network, shape: Shape) -> list[tuple[str, Layer, Cost]]:
    """Return (name, layer, cost) of every stage on images of `shape`."""
    rows = []
    for name, layer in net.stages:
        row = layer_cost(layer, shape, net.style)
        rows.append((name, layer, row))
        shape = row.shape
    return rows


def network_cost(net: Network, shape: Shape, num_classes: int, *, aux: bool = False) -> Cost:
    """Return the cost of the whole network, its auxiliary heads included where `aux`."""
    whole, extra = Cost(shape), []
    for name, layer in net.stages:
        whole = whole.then(layer_cost(layer, whole.shape, net.style))
        for head in net.aux if aux else ():
            if head.tap == name:
                branch = layer_cost(head.layers, whole.shape, net.style)
                extra.append(branch.then(head_cost(head.head, branch.shape, num_classes)))
    whole = whole.then(head_cost(net.head, whole.shape, num_classes))
    return whole.beside(*extra, shape=whole.shape)


@lru_cache(maxsize=256)
def min_input_size(net: Network, *, in_channels: int = 3, aux: bool = False) -> int:
    """Return the side of the smallest square image that the network accepts, in pixels.

    Raises:
        SpecError: no image of up to LARGEST_SIZE pixels fits, or branches agree at no size.
    """

    def fault(side: int) -> InputError | SpecError | None:
        try:
            network_cost(net, Shape(in_channels, side, side), 1, aux=aux)
        except (InputError, SpecError) as error:
            return error
        return None

    worst = fault(MAX_SIZE)
    if isinstance(worst, InputError):
        raise SpecError(f"network: not even an image of {MAX_SIZE} pixels fits; check its valid paddings and strides")
    if worst is not None and all(fault(MAX_SIZE - less) for less in range(1, TRIED_SIZES)):
        raise worst
    low, high = 0, MAX_SIZE  # too small, large enough, though branches may disagree there
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if isinstance(fault(middle), InputError) else (low, middle)
    return next(side for side in range(high, MAX_SIZE + 1) if fault(side) is None)
