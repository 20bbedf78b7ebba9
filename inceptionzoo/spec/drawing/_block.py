"""The drawing of a layer: chains run downwards, branches stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import assert_never

from .. import Act, Chain, Concat, Conv, Depthwise, Layer, Norm, Op, Pool, Residual, Style, out_channels, projection
from ._elements import CONNECTOR_LENGTH, Group, box, fork, stack
from ._labels import join_label, layer_label

TOUCHING = 2  # pixels between the two halves of a separable convolution


def canonical_form(layer: Layer, *, widths: bool) -> Layer:
    """Return a layer without branch names and stochastic depth, and without channels unless `widths`.

    Layers with equal results have the same form: one drawing shows them all.
    """
    match layer:
        case Conv():
            return layer if widths else replace(layer, out=layer.groups)
        case Depthwise() | Pool() | Norm() | Act() | Op():
            return layer
        case Chain():
            return Chain(tuple(canonical_form(step, widths=widths) for step in layer.layers))
        case Concat():
            branches = enumerate(branch for _, branch in layer.branches)
            return Concat(tuple((str(index), canonical_form(branch, widths=widths)) for index, branch in branches))
        case Residual():
            shortcut = None if layer.shortcut is None else canonical_form(layer.shortcut, widths=widths)
            return replace(layer, body=canonical_form(layer.body, widths=widths), shortcut=shortcut, drop_path=0.0)
    assert_never(layer)


def columns(layer: Layer) -> tuple[Layer | None, ...]:
    """Return the layers that are side by side in the drawing of a layer; None is the identity."""
    match layer:
        case Concat():
            return tuple(branch for _, branch in layer.branches)
        case Residual():
            return layer.shortcut, layer.body
        case Conv() | Depthwise() | Pool() | Norm() | Act() | Op() | Chain():
            return (layer,)
    assert_never(layer)


def draw_block(variants: Sequence[Layer], in_channels: Sequence[int], style: Style, min_width: Sequence[int] = ()) -> Group:
    """Return one drawing for `variants`, layers of the same form; channels that differ are shown as a range.

    `in_channels` are the input channels of each layer, or () if unknown. `min_width` are the smallest branch widths in pixels.
    """
    match layer := variants[0]:
        case Conv() | Depthwise() | Pool() | Norm() | Act() | Op():
            return box(*layer_label(variants, style))
        case Chain():
            return _chain([one for one in variants if isinstance(one, Chain)], in_channels, style)
        case Concat() | Residual():
            branches = [_branch(parts, in_channels, style) for parts in zip(*map(columns, variants), strict=True)]
            residuals = [one for one in variants if isinstance(one, Residual)]
            if residuals and residuals[0].project:
                outs = _out_channels(variants, in_channels)
                linear = [projection(out) for out in outs] or [projection(1)]
                kind, title, note = layer_label(linear, style)
                branches[1] = stack([branches[1], box(kind, title, note if outs else "linear")])
            return fork(
                branches,
                join_label(layer, _out_channels(variants, in_channels), [one.drop_path for one in residuals], style),
                min_width,
            )
    assert_never(layer)


def _chain(chains: Sequence[Chain], in_channels: Sequence[int], style: Style) -> Group:
    groups = []
    for steps in zip(*(one.layers for one in chains), strict=True):
        groups.append(draw_block(steps, in_channels, style))
        in_channels = _out_channels(steps, in_channels)
    steps = chains[0].layers
    return stack(
        groups, [TOUCHING if isinstance(a, Depthwise) and isinstance(b, Conv) else CONNECTOR_LENGTH for a, b in pairwise(steps)]
    )


def _branch(parts: Sequence[Layer | None], in_channels: Sequence[int], style: Style) -> Group:
    layers = [part for part in parts if part is not None]
    return draw_block(layers, in_channels, style) if layers else Group(24, 0)


def _out_channels(variants: Sequence[Layer], in_channels: Sequence[int]) -> tuple[int, ...]:
    """Return the output channels of each layer; () if they depend on unknown input channels."""
    if in_channels:
        return tuple(out_channels(layer, into) for layer, into in zip(variants, in_channels, strict=True))
    known = all(out_channels(layer, 1) == out_channels(layer, 2) for layer in variants)
    return tuple(out_channels(layer, 1) for layer in variants) if known else ()
