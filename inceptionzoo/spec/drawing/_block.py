"""A layer as a piece of the picture: chains go down, branches stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import assert_never

from .. import Act, Chain, Concat, Conv, Depthwise, Layer, Norm, Op, Pool, Residual, Style, out_channels, projection
from ._marks import WIRE, Piece, box, fork, stack
from ._words import joint, words

TOUCHING = 2  # pixels between the two halves of a separable convolution


def form(layer: Layer, *, widths: bool) -> Layer:
    """Return a layer without what a figure says beside its boxes: names, stochastic depth, and without `widths` those too."""
    match layer:
        case Conv():
            return layer if widths else replace(layer, out=layer.groups)
        case Depthwise() | Pool() | Norm() | Act() | Op():
            return layer
        case Chain():
            return Chain(tuple(form(step, widths=widths) for step in layer.layers))
        case Concat():
            return Concat(tuple(("", form(branch, widths=widths)) for _, branch in layer.branches))
        case Residual():
            shortcut = None if layer.shortcut is None else form(layer.shortcut, widths=widths)
            return replace(layer, body=form(layer.body, widths=widths), shortcut=shortcut, drop_path=0.0)
    assert_never(layer)


def columns(layer: Layer) -> tuple[Layer | None, ...]:
    """Return what stands side by side in a layer; None is the identity."""
    match layer:
        case Concat():
            return tuple(branch for _, branch in layer.branches)
        case Residual():
            return layer.shortcut, layer.body
        case Conv() | Depthwise() | Pool() | Norm() | Act() | Op() | Chain():
            return (layer,)
    assert_never(layer)


def draw_block(variants: Sequence[Layer], ins: Sequence[int], style: Style, least: Sequence[int] = ()) -> Piece:
    """Return the figure of layers of one form, on `ins` channels each, or on an unknown number (). `least` are widths.

    A width that differs is a range.
    """
    match layer := variants[0]:
        case Conv() | Depthwise() | Pool() | Norm() | Act() | Op():
            return box(*words(variants, style))
        case Chain():
            return _chain([one for one in variants if isinstance(one, Chain)], ins, style)
        case Concat() | Residual():
            branches = [_branch(parts, ins, style) for parts in zip(*map(columns, variants), strict=True)]
            residuals = [one for one in variants if isinstance(one, Residual)]
            if residuals and residuals[0].project:
                outs = _outs(variants, ins)
                linear = [projection(out) for out in outs] or [projection(1)]
                kind, title, note = words(linear, style)
                branches[1] = stack([branches[1], box(kind, title, note if outs else "linear")])
            return fork(branches, joint(layer, _outs(variants, ins), [one.drop_path for one in residuals], style), least)
    assert_never(layer)


def _chain(chains: Sequence[Chain], ins: Sequence[int], style: Style) -> Piece:
    pieces = []
    for steps in zip(*(one.layers for one in chains), strict=True):
        pieces.append(draw_block(steps, ins, style))
        ins = _outs(steps, ins)
    steps = chains[0].layers
    return stack(pieces, [TOUCHING if isinstance(a, Depthwise) and isinstance(b, Conv) else WIRE for a, b in pairwise(steps)])


def _branch(parts: Sequence[Layer | None], ins: Sequence[int], style: Style) -> Piece:
    layers = [part for part in parts if part is not None]
    return draw_block(layers, ins, style) if layers else Piece(24, 0)


def _outs(variants: Sequence[Layer], ins: Sequence[int]) -> tuple[int, ...]:
    """Return the channels after each variant, () where they hang on an unknown number before."""
    if ins:
        return tuple(out_channels(layer, into) for layer, into in zip(variants, ins, strict=True))
    known = all(out_channels(layer, 1) == out_channels(layer, 2) for layer in variants)
    return tuple(out_channels(layer, 1) for layer in variants) if known else ()
