"""The cost of a network and of its stages, its feature levels and its smallest input, from its specification. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from ..errors import InputError, SpecError
from ._cost import Cost, layer_cost, out_channels, total_stride
from ._geometry import as_tuple
from ._layers import Layer
from ._network import GlobalPool, Head, Network
from ._shape import Shape

MAX_SIZE = 4096  # pixels
TRIED_SIZES = 64  # branches that round differently may give equal map sizes only for every n-th image size


@dataclass(frozen=True, slots=True)
class FeatureLevel:
    """The output of a stage: its name, its channels, and the factors by which each dimension is smaller than the input's."""

    name: str
    channels: int
    reductions: tuple[int, ...]

    @property
    def reduction(self) -> int:
        """The factor of the last dimension, the width. A video network may reduce time less."""
        return self.reductions[-1]


def stage_levels(net: Network, in_channels: int) -> list[FeatureLevel]:
    """Return the name, channels and reductions of every stage, in order."""
    levels, channels, reductions = [], in_channels, (1,) * net.spatial_dims
    for name, layer in net.stages:
        strides = total_stride(layer, net.spatial_dims)
        channels, reductions = out_channels(layer, channels), tuple(map(math.prod, zip(reductions, strides, strict=True)))
        levels.append(FeatureLevel(name, channels, reductions))
    return levels


def feature_levels(net: Network, in_channels: int) -> list[FeatureLevel]:
    """Return the last stage of each resolution, the finest first: reductions 2, 4, 8, 16, 32 for ImageNet networks.

    The level at the image's own resolution is left out if there are at least five others.
    """
    stages = stage_levels(net, in_channels)
    if net.taps:
        return [level for level in stages if level.name in net.taps]
    last = {level.reductions: level for level in stages}
    if len(last) > 5:
        last.pop((1,) * net.spatial_dims, None)
    return list(last.values())


def head_cost(head: Head, shape: Shape, num_classes: int, pool: GlobalPool = "avg") -> Cost:
    """Return the cost of a head on a map of `shape`. The output has one position; without a pool it is the map."""
    if not pool:
        return Cost(shape)
    factor = 2 if pool == "catavgmax" else 1  # channels after pooling / channels before
    sizes = as_tuple(head.size, len(shape.size))
    positions = 1
    if head.kind == "conv":
        positions = math.prod(max(side - size, 0) + 1 for side, size in zip(shape.size, sizes, strict=True))
    fan_in = shape.channels * (math.prod(sizes) if head.hidden else 1) * (1 if head.kind == "conv" else factor)
    one = (1,) * len(sizes)
    total = Cost(Shape(fan_in, *one))
    for index, out in enumerate((*head.hidden, *([num_classes] if num_classes else []))):
        is_hidden = index < len(head.hidden)
        fan_in *= factor if head.kind == "conv" and not is_hidden else 1  # its hidden layers are before the pool
        has_norm = is_hidden and head.kind == "embed"
        weights = fan_in * out
        dense = Cost(
            Shape(out, *one),
            weights=weights,
            params=weights + out * (2 if has_norm else 1),  # scale and shift, or bias
            macs=weights * (positions if is_hidden else 1),
            depth=1,
            normed=1 if has_norm and head.norm == "batch" else None,
        )
        total, fan_in = total.then(dense), out
    if head.kind == "conv" and not num_classes:
        total = replace(total, shape=Shape(fan_in * factor, *one))
    return total


def stage_costs(net: Network, shape: Shape) -> list[tuple[str, Layer, Cost]]:
    """Return (name, layer, cost) of every stage, for an image of `shape`."""
    costs = []
    for name, layer in net.stages:
        cost = layer_cost(layer, shape, net.style)
        costs.append((name, layer, cost))
        shape = cost.shape
    return costs


def network_cost(net: Network, shape: Shape, num_classes: int, *, pool: GlobalPool = "avg", aux: bool = False) -> Cost:
    """Return the cost of the whole network for an image of `shape`; `aux` includes the auxiliary heads."""
    total, aux_costs = Cost(shape), []
    for name, layer in net.stages:
        total = total.then(layer_cost(layer, total.shape, net.style))
        for branch in net.aux if aux else ():
            if branch.tap == name:
                cost = layer_cost(branch.layers, total.shape, net.style)
                aux_costs.append(cost.then(head_cost(branch.head, cost.shape, num_classes)))
    total = total.then(head_cost(net.head, total.shape, num_classes, pool))
    return total.beside(*aux_costs, shape=total.shape)


@lru_cache(maxsize=256)
def min_input_size(net: Network, *, in_channels: int = 3, aux: bool = False) -> int:
    """Return the side, in pixels, of the smallest input with equal sides that the network accepts: a square image.

    Raises:
        SpecError: every image of up to MAX_SIZE pixels is too small, or branches give different map sizes for all of them.
    """

    def error_at(side: int) -> InputError | SpecError | None:
        try:
            network_cost(net, _square(net, in_channels, side), 1, aux=aux)
        except (InputError, SpecError) as error:
            return error
        return None

    error = error_at(MAX_SIZE)
    if isinstance(error, InputError):
        sides = "x".join([str(MAX_SIZE)] * net.spatial_dims)
        raise SpecError(f"network: even an input of {sides} px is too small; check 'valid' paddings and strides")
    if error is not None and all(error_at(MAX_SIZE - offset) for offset in range(1, TRIED_SIZES)):
        raise error
    low, high = 0, MAX_SIZE  # low is too small; high is large enough, but branches may give different sizes there
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if isinstance(error_at(middle), InputError) else (low, middle)
    return next(side for side in range(high, MAX_SIZE + 1) if error_at(side) is None)


@lru_cache(maxsize=256)
def min_feature_size(net: Network, *, in_channels: int = 3) -> int:
    """Return the side, in pixels, from which on the feature maps of square images have about the sizes of their reductions.

    The map of each level then has more than half of side / reduction pixels. `min_input_size` can be smaller: without padding,
    the maps shrink to one pixel before an image is too small. It is returned if there is no such size.
    """
    smallest = min_input_size(net, in_channels=in_channels)
    end = 2 * smallest + TRIED_SIZES // 2

    def fits(side: int) -> bool:
        sizes = _level_sizes(net, in_channels, side)
        return bool(sizes) and all(2 * size * reduction > side for size, reduction in sizes)

    last_misfit = next((side for side in range(end, smallest - 1, -1) if not fits(side)), smallest - 1)
    return smallest if last_misfit == end else last_misfit + 1


def has_exact_reductions(net: Network, *, in_channels: int = 3) -> bool:
    """Return whether the map of each level has exactly side / reduction pixels for images of 512 px."""
    sizes = _level_sizes(net, in_channels, 512)
    return bool(sizes) and all(size * reduction == 512 for size, reduction in sizes)


def _level_sizes(net: Network, in_channels: int, side: int) -> list[tuple[int, int]]:
    """Return (side of the map, reduction) of each level and dimension; nothing if the network does not accept such images."""
    try:
        maps = {name: cost.shape for name, _, cost in stage_costs(net, _square(net, in_channels, side))}
    except (InputError, SpecError):
        return []
    levels = feature_levels(net, in_channels)
    return [pair for level in levels for pair in zip(maps[level.name].size, level.reductions, strict=True)]


def _square(net: Network, in_channels: int, side: int) -> Shape:
    return Shape(in_channels, *(side,) * net.spatial_dims)
