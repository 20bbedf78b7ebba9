"""Traversal of a specification: list the layers inside a layer or its leaves, or change every leaf. No torch.

A leaf is a layer without layers inside: Conv, Depthwise, Pool, Norm, Act or Op. The others are Chain, Concat and Residual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ._layers import Chain, Concat, Layer, Residual


def named_children(layer: Layer) -> tuple[tuple[str, Layer], ...]:
    """Return (name, layer) for the layers directly inside `layer`, in order; () for a leaf.

    The names are those of the modules: "0", "1", ... in a chain, the branch names, or "body" and "shortcut".
    """
    match layer:
        case Chain():
            return tuple((str(index), step) for index, step in enumerate(layer.layers))
        case Concat():
            return layer.branches
        case Residual():
            return (("body", layer.body), *(() if layer.shortcut is None else (("shortcut", layer.shortcut),)))
        case _:
            return ()


def named_leaves(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield (path of the module, leaf) for the leaves of `layer`, depth first; `path` is that of `layer` itself."""
    inner = named_children(layer)
    if not inner:
        yield path, layer
    for name, child in inner:
        yield from named_leaves(child, f"{path}.{name}" if path else name)


def children(layer: Layer) -> tuple[Layer, ...]:
    """Return the layers directly inside `layer`, in order; () for a leaf."""
    return tuple(child for _, child in named_children(layer))


def leaves(layer: Layer) -> Iterator[Layer]:
    """Yield the leaves of `layer`, depth first."""
    return (leaf for _, leaf in named_leaves(layer))


def stated_dims(layer: Layer) -> int | None:
    """Return the number of dimensions that a kernel, stride or dilation of a leaf states; None if all are ints."""
    sizes = (getattr(leaf, field, 1) for leaf in leaves(layer) for field in ("kernel", "stride", "dilation"))
    return next((len(size) for size in sizes if isinstance(size, tuple)), None)


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
