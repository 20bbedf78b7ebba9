"""The specification of a network as plain data, its cost, variants, summary and registry entry. No torch."""

from ._arguments import make_network, network_arguments
from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._cost import Cost, layer_cost, out_channels, projection
from ._data_config import CIFAR, CROP_MODES, IMAGENET_MEAN, IMAGENET_STD, MAX_CHANNELS, DataConfig
from ._dimensions import with_spatial_dims
from ._entry import Entry, Published, Recipe
from ._geometry import (
    AXES,
    Padding,
    Size,
    Window,
    as_size,
    as_tuple,
    dilated_extent,
    format_size,
    is_one,
    make_window,
    window_positions,
)
from ._keras import KerasLayout, keras_layouts, keras_weights, numbered
from ._layers import LAYERS, Chain, Concat, Layer, Op, Residual, chain, concat
from ._layout import NATIVE, Layout
from ._network import GLOBAL_POOLS, Aux, GlobalPool, Head, HeadKind, Network, Style, network
from ._network_cost import (
    feature_levels,
    has_exact_reductions,
    head_cost,
    min_feature_size,
    min_input_size,
    network_cost,
    stage_costs,
    stage_levels,
)
from ._serialization import first_difference, network_from_json, network_to_json
from ._shape import Shape
from ._summary import Summary, summarize
from ._taps import PRE, Indices, resolve_taps
from ._terminal import supports_colour
from ._variants import VARIANT_ARGUMENTS, apply_variants
from ._walk import children, leaves, map_leaves, named_leaves, stated_dims

__all__ = [
    "AXES",
    "CIFAR",
    "CROP_MODES",
    "GLOBAL_POOLS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LAYERS",
    "MAX_CHANNELS",
    "NATIVE",
    "PRE",
    "VARIANT_ARGUMENTS",
    "Act",
    "Aux",
    "Chain",
    "Concat",
    "Conv",
    "Cost",
    "DataConfig",
    "Depthwise",
    "Entry",
    "GlobalPool",
    "Head",
    "HeadKind",
    "Indices",
    "KerasLayout",
    "Layer",
    "Layout",
    "Network",
    "Norm",
    "Op",
    "Padding",
    "Pool",
    "Published",
    "Recipe",
    "Residual",
    "Shape",
    "Size",
    "Style",
    "Summary",
    "Window",
    "apply_variants",
    "as_size",
    "as_tuple",
    "chain",
    "children",
    "concat",
    "dilated_extent",
    "feature_levels",
    "first_difference",
    "format_size",
    "has_exact_reductions",
    "head_cost",
    "is_one",
    "keras_layouts",
    "keras_weights",
    "layer_cost",
    "leaves",
    "make_network",
    "make_window",
    "map_leaves",
    "min_feature_size",
    "min_input_size",
    "named_leaves",
    "network",
    "network_arguments",
    "network_cost",
    "network_from_json",
    "network_to_json",
    "numbered",
    "out_channels",
    "projection",
    "resolve_taps",
    "stage_costs",
    "stage_levels",
    "stated_dims",
    "summarize",
    "supports_colour",
    "window_positions",
    "with_spatial_dims",
]
