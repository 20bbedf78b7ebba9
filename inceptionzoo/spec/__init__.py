"""The specification of a network as plain data, its cost, variants, summary and registry entry. No torch."""

from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._cost import Cost, Shape, layer_cost, out_channels, projection
from ._entry import CIFAR, IMAGENET_MEAN, IMAGENET_STD, MAX_CHANNELS, NATIVE, DataConfig, Entry, Layout, Published, Recipe
from ._geometry import Padding, Size, as_pair, dilated_extent, half_padding, window_positions
from ._layers import LAYERS, Chain, Concat, Layer, Op, Residual, chain, concat
from ._network import GLOBAL_POOLS, Aux, GlobalPool, Head, HeadKind, Network, Style, network
from ._network_cost import (
    Indices,
    feature_levels,
    has_exact_reductions,
    head_cost,
    min_feature_size,
    min_input_size,
    network_cost,
    resolve_stages,
    stage_costs,
    stage_levels,
)
from ._serialization import first_difference, network_from_json, network_to_json
from ._summary import Summary, summarize
from ._terminal import supports_colour
from ._variants import VARIANT_ARGUMENTS, apply_variants
from ._walk import children, leaves, map_leaves, named_leaves

__all__ = [
    "CIFAR",
    "GLOBAL_POOLS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LAYERS",
    "MAX_CHANNELS",
    "NATIVE",
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
    "apply_variants",
    "as_pair",
    "chain",
    "children",
    "concat",
    "dilated_extent",
    "feature_levels",
    "first_difference",
    "half_padding",
    "has_exact_reductions",
    "head_cost",
    "layer_cost",
    "leaves",
    "map_leaves",
    "min_feature_size",
    "min_input_size",
    "named_leaves",
    "network",
    "network_cost",
    "network_from_json",
    "network_to_json",
    "out_channels",
    "projection",
    "resolve_stages",
    "stage_costs",
    "stage_levels",
    "summarize",
    "supports_colour",
    "window_positions",
]
