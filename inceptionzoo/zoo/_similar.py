"""Find registered models whose weights have the same names and shapes, and which compute something else with them."""

from __future__ import annotations

from ..spec import Conv, Depthwise, Entry, Network, first_difference, make_network, named_leaves
from ._registry import REGISTRY


def describe_similar_models(entry: Entry, network: Network, num_classes: int | None) -> str:
    """Return which other models the weights of an entry's `network` fit; "" if there are none.

    A model whose published weights have the source's `num_classes` is pointed out, if those of the entry have not.
    """
    texts, ours = [], _weights(network)
    for other in REGISTRY.values():
        if other.name == entry.name or not any(layout in entry.layouts for layout in other.layouts):
            continue
        theirs = make_network(other, {})
        if _weights(theirs) == ours and first_difference(theirs, network):
            is_theirs = _has_classes(other, num_classes) and not _has_classes(entry, num_classes)
            classes = f" (its published weights have {num_classes} classes too)" if is_theirs else ""
            texts.append(f"{other.name}{classes}, which computes other outputs")
    return "; ".join(texts)


def _weights(network: Network) -> dict[str, tuple[object, ...]]:
    """Return what determines the names and shapes of a network's weights."""
    leaves = ((path, leaf) for name, layer in network.stages for path, leaf in named_leaves(layer, name))
    return {"style": (network.style.norm, network.style.bias, network.head)} | {
        path: (leaf.kernel, leaf.out, leaf.groups) if isinstance(leaf, Conv) else (leaf.kernel, leaf.multiplier)
        for path, leaf in leaves
        if isinstance(leaf, Conv | Depthwise)
    }


def _has_classes(entry: Entry, num_classes: int | None) -> bool:
    return any(row.num_classes == num_classes for row in entry.weights.values())
