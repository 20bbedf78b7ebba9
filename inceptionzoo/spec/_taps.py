"""The names of feature maps: a stage, or "STAGE:pre" for the map before the activation that ends the stage. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import SupportsIndex

from ..errors import ArgumentError, plain_int, suggestion
from ._basic_layers import Act, Conv
from ._layers import Chain, Concat, Layer, Op, Residual

Indices = int | Sequence[int | str] | None
PRE = ":pre"


def resolve_taps(argument: str, indices: Indices, levels: list[str], stages: Mapping[str, Layer]) -> list[str]:
    """Return the names of the maps that `indices` selects, in the network's order; a map before an activation comes first.

    `indices` is a list of indices into `levels`, stage names and "STAGE:pre"; or an int n for the last n levels; or None for
    all levels. Error messages call it `argument`.

    Raises:
        ArgumentError: an index is not a level, a name is not a stage, or a stage has no map before its activation.
    """
    if indices is None:
        return levels
    indices = plain_int(indices)
    if isinstance(indices, int):
        if isinstance(indices, bool) or not 1 <= indices <= len(levels):
            raise ArgumentError(f"{argument}={indices!r} must be in 1..{len(levels)}, the number of levels")
        return levels[-indices:]
    if isinstance(indices, str) or not hasattr(indices, "__iter__"):
        raise ArgumentError(f"{argument}={indices!r} must be an int, or a list of level indices and stage names")
    selected = {_find_tap(argument, index, levels, stages) for index in indices}
    if not selected:
        raise ArgumentError(f"{argument}={indices!r} must name at least one level or stage")
    return [tap for name in stages for tap in (name + PRE, name) if tap in selected]


def _find_tap(argument: str, index: object, levels: list[str], stages: Mapping[str, Layer]) -> str:
    if isinstance(index, str):
        name = index.removesuffix(PRE)
        if name not in stages:
            names = ", ".join(stages)
            raise ArgumentError(f"{argument}: unknown stage {name!r}{suggestion(name, list(stages))} Stages are {names}")
        if name != index:
            _check_activation(argument, name, stages[name])
        return index
    if isinstance(index, bool) or not isinstance(index, SupportsIndex) or not -len(levels) <= index.__index__() < len(levels):
        raise ArgumentError(f"{argument}: {index!r} must be in {-len(levels)}..{len(levels) - 1}, the levels of feature_info")
    return levels[index]


def _check_activation(argument: str, name: str, stage: Layer) -> None:
    """Raise ArgumentError if the stage does not end in a layer that contains an activation."""
    last = _last_layers(stage)
    unknown = next((layer for layer in last if isinstance(layer, Act | Op)), None)
    if unknown is None and any(isinstance(layer, Conv | Residual) and layer.act for layer in last):
        return
    end = unknown or last[-1]
    raise ArgumentError(
        f"{argument}: stage {name!r} has no map before its activation: it ends in {type(end).__name__}, not in a convolution "
        f"with an activation; use {name!r}"
    )


def _last_layers(layer: Layer) -> list[Layer]:
    """Return the layers that give the output of `layer`: one for each branch."""
    match layer:
        case Chain():
            return _last_layers(layer.layers[-1])
        case Concat():
            return [last for _, branch in layer.branches for last in _last_layers(branch)]
        case _:
            return [layer]
