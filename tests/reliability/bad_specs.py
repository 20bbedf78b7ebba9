"""Bad values for the functions that describe a network: wrong types, out of range, bool for int, NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from torch import nn

import inceptionzoo as iz

NAN, INF, HUGE = math.nan, math.inf, 10**30
NOT_INTS = (True, 1.5, "2", [2], np.float64(2), NAN)
COUNTS = (*NOT_INTS, None, 0, -1, HUGE)  # for an int of at least 1
NATURALS = (*NOT_INTS, -1, HUGE)
FLAGS = (1, "yes", None, np.bool_(True), [True])  # for True or False
RATES = (1, -0.1, NAN, INF, "half", True, [0.5])  # for 0 <= rate < 1
NUMBERS = (-1, NAN, INF, "1", True, [1.0])  # for a finite number of at least 0
CHOICES = ("nonsense", 7, True, ["avg"])  # for one of a few words
KERNELS = (True, 1.5, "3", [3, 3], (), (3, 3, 3, 3), (3, 0), (True, 3), np.int64(3), NAN, None, 0, -1, HUGE)
DIMENSIONS = (*NOT_INTS, 0, 4, -1, HUGE)
PADDINGS = ("Half", 7, True, None, ["half"])

Table = dict[str, tuple[object, ...]]
CONV: Table = {
    **dict.fromkeys(("stride", "groups", "dilation"), COUNTS),
    "kernel": KERNELS,
    "padding": PADDINGS,
    **dict.fromkeys(("norm", "act"), FLAGS),
    "bias": (1, "yes", np.bool_(True)),
}
DATA: Table = {
    "input_size": (
        "224",
        224,
        (3,),
        (3, 1, 1, 1, 1),
        (3, 0, 224),
        (3, 224.0, 224),
        (3, True, 224),
        [3, 224, 224],
        (3, NAN, 224),
    ),
    "mean": (0.5, "x", (0.5,), (NAN, 0.5, 0.5), (INF, 0.5, 0.5), ("a", "b", "c"), [0.5, 0.5, 0.5]),
    "std": (0.5, (0.5,), (0.0, 0.5, 0.5), (-1.0, 0.5, 0.5), (NAN, 0.5, 0.5)),
    "interpolation": CHOICES,
    "crop_pct": (0, 1.5, NAN, "1", True),
    "crop_mode": CHOICES,
}


def network_functions() -> dict[str, tuple[Callable[..., object], Table]]:
    """Return {name: (function with valid arguments, {argument: bad values})}."""
    layers = (7, None, "conv", nn.Conv2d(1, 1, 1), [iz.Conv(3)])
    return {
        "Conv": (partial(iz.Conv, out=8), {"out": COUNTS, **CONV}),
        "Depthwise": (iz.Depthwise, {key: CONV[key] for key in ("kernel", "stride", "padding", "dilation")}),
        "Depthwise, more": (iz.Depthwise, {"multiplier": COUNTS, "bias": FLAGS}),
        "Pool": (
            partial(iz.Pool, kind="max"),
            {**{key: CONV[key] for key in ("kernel", "stride", "padding", "dilation")}, "include_pad": FLAGS},
        ),
        "Pool, more": (partial(iz.Pool, kind="max"), {"kind": CHOICES, "ceil": (1, "up", None, np.bool_(True))}),
        "Norm": (iz.Norm, {"kind": CHOICES, "size": COUNTS, **dict.fromkeys(("alpha", "beta", "k"), NUMBERS)}),
        "Residual": (
            partial(iz.Residual, body=iz.Conv(3)),
            {"body": layers, "scale": NUMBERS, "project": FLAGS, "shortcut": layers[2:], "act": FLAGS, "drop_path": RATES},
        ),
        "Op": (
            partial(iz.Op, make=nn.Identity, out=8),
            {"make": (7, None), "out": COUNTS, "stride": COUNTS, "cost": (7, (1,), (1.5, 2), (-1, 0), (True, 1), "ab")},
        ),
        "concat": (partial(iz.concat, branch=iz.Conv(3)), {"branch": layers}),
        "network": (
            partial(iz.network, stem=iz.Conv(3)),
            {
                "stage": layers,
                "spatial_dims": DIMENSIONS,
                "head": ("mlp", 7),
                "style": ("relu", 7),
                "aux": (7, "x", (7,), [iz.Conv(3)], None),
            },
        ),
        "Head": (iz.Head, {"kind": CHOICES, "hidden": ("x", 8, (0,), [8], (True,), (1.5,), None), "size": COUNTS}),
        "Head, more": (iz.Head, {"drop_rate": RATES, "norm": CHOICES}),
        "Style": (iz.Style, {"norm": CHOICES, "eps": (0, *NUMBERS), "bias": FLAGS, "act": CHOICES}),
        "Style, more": (iz.Style, {"spatial_dims": (*DIMENSIONS, None), "time_padding": (*CHOICES, None)}),
        "Aux": (
            partial(iz.Aux, tap="stem", layers=iz.Conv(3), head=iz.Head()),
            {"tap": (7, None), "layers": layers, "head": ("pool", 7, None), "weight": NUMBERS},
        ),
        "DataConfig": (iz.DataConfig, DATA),
        "Recipe": (iz.Recipe, dict.fromkeys(("lr", "momentum", "weight_decay"), NUMBERS)),
        "Layout": (
            partial(iz.Layout, name="theirs", prefixes=()),
            {"name": (7, None), "prefixes": ("x", 7, (("a",),), ((1, 2),)), "inner": ("x", 7, (("a",),), ((1, 2),))},
        ),
        "inception": (
            partial(iz.inception, **dict.fromkeys(("n1", "r3", "n3", "r5", "n5", "proj"), 2)),
            {**dict.fromkeys(("n1", "r3", "proj"), COUNTS), "five": (4, "5", True, 5.0)},
        ),
        "build": (
            partial(iz.build, spec=iz.Conv(3)),
            {"spec": layers, "in_channels": COUNTS, "norm": CHOICES, "spatial_dims": DIMENSIONS, "eps": (0, NAN)},
        ),
    }
