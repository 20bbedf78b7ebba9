"""The walk over a specification: the layers inside a layer, its leaves, and a change of every leaf. No torch.

A leaf is a layer without layers inside: Conv, Depthwise, Pool, Norm, Act or Op. The others are Chain, Concat and Residual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ._layers import Chain, Concat, Layer, Residual


def children(layer: Layer) -> tuple[Layer, ...]:
    """Return the layers directly inside `layer`, in order; () for a leaf.

    A residual block has its body, then its shortcut if there is one.
    """
    match layer:
        case Chain():
            return layer.layers
        case Concat():
            return tuple(branch for _, branch in layer.branches)
        case Residual():
            return (layer.body,) if layer.shortcut is None else (layer.body, layer.shortcut)
        case _:
            return ()


def leaves(layer: Layer) -> Iterator[Layer]:
    """Yield the leaves of `layer`, depth first, in the order of `children`."""
    inner = children(layer)
    if not inner:
        yield layer
    for child in inner:
        yield from leaves(child)


def map_children(layer: Layer, change: Callable[[Layer], Layer]) -> Layer:
    """Return `layer` with `change(child)` in place of each child; names and other fields stay. A leaf is returned as it is."""
    match layer:
        case Chain():
            return Chain(tuple(change(step) for step in layer.layers))
        case Concat():
            return Concat(tuple((name, change(branch)) for name, branch in layer.branches))
        case Residual():
            shortcut = None if layer.shortcut is None else change(layer.shortcut)
            return replace(layer, body=change(layer.body), shortcut=shortcut)
        case _:
            return layer


def map_leaves(layer: Layer, change: Callable[[Layer], Layer]) -> Layer:
    """Return `layer` with `change(leaf)` in place of each leaf."""
    return map_children(layer, lambda child: map_leaves(child, change)) if children(layer) else change(layer)
