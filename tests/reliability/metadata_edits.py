"""Changes to the metadata in a .safetensors header, which describes the model; edits as in `header_edits`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from header_edits import MARKER, ODD, Header

LIKELY = {
    "architecture": ["tiny2", "vgg16", "googlenet", "inception_v4", "googlenet_cifar", "xception", "", "googlenet_" * 50_000],
    "num_classes": [0, 1, 2, 4, 1000, 10**4299],
    "in_chans": [0, 1, 4, 2**40, 10**4299],
    "global_pool": ["avg", "max", "avgmax", "catavgmax", "", "mean"],
    "drop_rate": [0.0, 0.5, 1.0, -0.1],
    "aux": [True],
    "channels_last": [True],
    "fused": [True],
    "class_names": [["a", "b", "c"], ["a", "b"], ["a", "a", "b"], ["a", "b", 3], ["\ud800", "", "\0"]],
    "metrics": [{"a": 1.0}, {"a": 1}, {"a": float("nan")}, {"": 0.5}],
}
ARGUMENTS = {
    "width": [1, 2, 4, 5, 2**40, 10**4200],
    "kernel": [1, 3, 5, [1, 3], [3, [3]]],
    "spatial_dims": [1, 2, 3, 4],
    "time_padding": ["zeros", "replicate", "reflect"],
    "padding": ["same", "valid"],
    "include_pad": [True, False],
    "ceil_mode": ["pad"],
    "output_stride": [1, 2, 8, 16, 32],
    "act_layer": ["relu", "silu", "os.system"],
    "norm_layer": ["batchnorm2d", "groupnorm", "layernorm2d", "eval"],
    "drop_path_rate": [0.0, 0.1],
    "num_classes": [3],
    "weights": ["x.pth"],
    "head": ["conv"],
    "x": [1],
    "padding_" * 50_000: [1],
}
DATA = {
    "input_size": [[3, 8, 8], [1, 8, 8], [3, 2**40, 2**40], [3, 0, 8], [3, 8]],
    "mean": [[0.5, 0.5, 0.5], [0.5], [1e7, 0, 0], ["a", "b", "c"]],
    "std": [[0.5, 0.5, 0.5], [0, 0, 0], [-1, 1, 1]],
    "interpolation": ["nearest", "x"],
    "crop_pct": [1, 1.5, 0, 1e-300],
    "x": [1],
}


def _changed(values: Any, likely: Mapping[str, list[Any]], pick: Random) -> dict[str, Any]:
    """Return the values with one of them removed, or replaced by a likely or an odd value."""
    values = dict(values) if isinstance(values, dict) else {}
    key = pick.choice(list(likely))
    if pick.random() < 0.1:
        values.pop(key, None)
    else:
        values[key] = pick.choice(likely[key] if pick.random() < 0.6 else ODD)
    return values


def _edit(header: Header, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    texts = header["__metadata__"]
    texts[MARKER] = json.dumps(change(json.loads(texts[MARKER])), sort_keys=True)


def metadata_value(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    _edit(header, lambda metadata: _changed(metadata, {**dict.fromkeys([*metadata, "x"], ODD), **LIKELY}, pick))
    return payload


def metadata_arguments(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    _edit(header, lambda metadata: {**metadata, "arguments": _changed(metadata.get("arguments"), ARGUMENTS, pick)})
    return payload


def metadata_data(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    _edit(header, lambda metadata: {**metadata, "data": _changed(metadata.get("data"), DATA, pick)})
    return payload


def metadata_thrice(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    for edit in pick.choices((metadata_value, metadata_arguments, metadata_data), k=3):
        edit(header, payload, name, pick)
    return payload


def metadata_text(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    texts, depth = header["__metadata__"], pick.choice((10, 900, 5000))
    text = texts[MARKER]
    number = pick.choice(('"num_classes": 3', '"in_chans": 3', '"version": 1', '"drop_rate": 0.0'))
    value = pick.choice(("9" * 4300, "9" * 5000, "-0", "1e999", "NaN", "3.0", "[" * depth + "]" * depth, '3, "version": 1'))
    other = text.replace(number, number.split(":")[0] + ": " + value)
    nested = "[" * depth + "]" * depth
    texts[MARKER] = pick.choice((other, other, other, text[:-1], text + "x", "", "null", nested, text.upper()))
    return payload


METADATA = [metadata_value, metadata_value, metadata_arguments, metadata_data, metadata_thrice, metadata_text]
