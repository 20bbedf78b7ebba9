"""The labels of boxes: of a layer, or of several layers that differ only in their channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from .. import (
    Act,
    Chain,
    Concat,
    Conv,
    Depthwise,
    GlobalPool,
    Head,
    Layer,
    Norm,
    Op,
    Pool,
    Residual,
    Shape,
    Size,
    Style,
    as_tuple,
    format_size,
    is_one,
    make_window,
)

Label = tuple[str, str, str]  # kind, title, note
NORMS = {"batch": "batch norm", "group": "group norm", "layer": "layer norm", None: "no norm"}
ACTS = {"relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "elu": "ELU", "silu": "SiLU", "gelu": "GELU"}
POOLS = {"avg": "global avg", "max": "global max", "avgmax": "global avg + max", "catavgmax": "global avg, max"}


def norm_name(style: Style) -> str:
    """Return the name of a style's normalisation."""
    return "own norm" if callable(style.norm) else NORMS[style.norm]


def act_name(style: Style) -> str:
    """Return the name of a style's activation."""
    return "own activation" if callable(style.act) else ACTS.get(style.act, style.act)


def format_count(value: int) -> str:
    """Return a count with three significant figures, for example 6.62M."""
    digits = len(str(value))
    value = round(value, 3 - digits)  # 999,999 becomes 1,000,000
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        if value >= unit:
            return f"{value / unit:.{2 if value < 10 * unit else 1 if value < 100 * unit else 0}f}{name}"
    return str(value)


def format_range(values: Iterable[float]) -> str:
    """Return "64", or "16-48" if the values differ."""
    low, high = min(known := list(values)), max(known)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def layer_label(variants: Sequence[Layer], style: Style) -> Label:
    """Return the label of a layer's box. `variants` differ only in their channels.

    Defaults are left out: stride 1, "half" padding, normalisation and activation after a convolution.
    """
    dims = style.spatial_dims
    match layer := variants[0]:
        case Conv():
            outs = format_range(one.out for one in variants if isinstance(one, Conv))
            return (
                _conv_kind(layer, dims),
                f"{format_size(as_tuple(layer.kernel, dims))}{_stride(layer.stride)}",
                _note(outs, *_conv_notes(layer, style)),
            )
        case Depthwise():
            times = f"width x {layer.multiplier}" if layer.multiplier > 1 else ""
            return (
                "depthwise",
                f"depthwise {format_size(as_tuple(layer.kernel, dims))}{_stride(layer.stride)}",
                _note(times, *_window_notes(layer, dims)),
            )
        case Pool(kind="adaptive_avg"):
            return "pool", f"avg to {format_size(as_tuple(layer.kernel, dims))}", ""
        case Pool():
            rounded = "ceil" if layer.ceil else ""
            title = f"{layer.kind} {format_size(as_tuple(layer.kernel, dims))}{_stride(layer.stride)}"
            return "pool", title, _note(*_window_notes(layer, dims), rounded)
        case Norm():
            return "norm", "local response norm" if layer.kind == "lrn" else norm_name(style), ""
        case Act():
            return "act", act_name(style), ""
        case Op():
            outs = format_range(one.out for one in variants if isinstance(one, Op))
            name = str(getattr(layer.make, "__name__", ""))
            return "op", f"{name if name.isidentifier() else 'op'}{_stride(layer.stride)}", outs
        case Chain() | Concat() | Residual():
            raise AssertionError(f"{type(layer).__name__} is not a single box")
    assert_never(layer)


def join_label(layer: Concat | Residual, outs: Sequence[int], drops: Sequence[float], style: Style) -> Label:
    """Return the label of the box that joins branches; `outs` are the channels after it, or () if unknown."""
    if isinstance(layer, Concat):
        return "join", "concat", format_range(outs) if outs else ""
    scale = f"body x {layer.scale:g}" if layer.scale != 1 else ""
    drop = f"drop path {format_range(round(drop, 3) for drop in drops)}" if any(drops) else ""
    return "join", "add", _note(scale, drop, f"then {act_name(style)}" if layer.act else "")


def head_labels(head: Head, num_classes: int, pool: GlobalPool, shape: Shape) -> list[Label]:
    """Return the labels of a head's boxes on a map of `shape`, in order; there are none without pooling."""
    if not pool:
        return []
    first: list[Label] = [("pool", POOLS[pool], "")]
    dims = len(shape.size)
    size = as_tuple(head.size, dims)
    is_single = is_one(size)
    if head.kind == "mlp" and not is_single:
        same = shape.size == size and pool != "catavgmax"  # pooling does not change the map
        first = [] if same else [("pool", f"{pool} to {format_size(as_tuple(head.size, dims))}", "")]
    drop: list[Label] = [("act", "dropout", f"{head.drop_rate:g}")] if head.drop_rate else []
    last: list[Label] = [("dense", "linear", str(num_classes))] if num_classes else []
    hidden = [("dense", "dense", f"{out}") for out in head.hidden]
    match head.kind:
        case "pool":
            return [*first, *drop, *last]
        case "embed":
            return [*first, *drop, ("dense", "linear", str(head.hidden[0])), ("norm", f"{head.norm} norm", ""), *last]
        case "mlp":
            return [*first, *(step for dense in hidden for step in (dense, *drop)), *last]
        case "conv":
            sized: Label = ("conv1" if is_single else "convk", format_size(size), str(head.hidden[0]))
            slid: list[Label] = [sized, *(("conv1", format_size(as_tuple(1, dims)), str(out)) for out in head.hidden[1:])]
            between = [step for conv in slid for step in (conv, *drop)]
            return [*between[: len(between) - len(drop)], *first, *drop, *last]
    assert_never(head.kind)


def branch_widths(layer: Layer | None) -> str:
    """Return the channels of a branch, for example "96 > 128"; those of branches inside it are "384 | 384"."""
    match layer:
        case Conv() | Op():
            return str(layer.out)
        case Depthwise() | Pool() | Norm() | Act() | None:
            return ""
        case Chain():
            return " > ".join(filter(None, map(branch_widths, layer.layers)))
        case Concat():
            return " | ".join(filter(None, (branch_widths(branch) for _, branch in layer.branches)))
        case Residual():
            return " + ".join(filter(None, (branch_widths(layer.shortcut), branch_widths(layer.body))))
    assert_never(layer)


def _conv_kind(conv: Conv, dims: int) -> str:
    kernel = as_tuple(conv.kernel, dims)
    return "conv1" if is_one(kernel) else "convk" if min(kernel) > 1 else "convf"


def _conv_notes(conv: Conv, style: Style) -> list[str]:
    groups = f"groups {conv.groups}" if conv.groups > 1 else ""
    normed = "no norm" if conv.act and not conv.norm and style.norm is not None else ""
    return [*_window_notes(conv, style.spatial_dims), groups, normed, "" if conv.act else "linear"]


def _window_notes(layer: Conv | Depthwise | Pool, dims: int) -> list[str]:
    window = make_window(layer.kernel, layer.stride, layer.dilation, "half", dims)
    plain = {"half": True, "same": window.is_centred or is_one(window.kernel), "valid": not any(window.padding)}
    dilation = "" if is_one(layer.dilation) else f"dilation {format_size(layer.dilation)}"
    return ["" if plain[layer.padding] else layer.padding, dilation]


def _note(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _stride(stride: Size) -> str:
    return "" if is_one(stride) else f" /{format_size(stride)}"
