"""A network for images as one for signals, or for volumes and videos. No torch."""

from __future__ import annotations

from dataclasses import replace

from ..errors import ArgumentError, check_choice
from ._basic_layers import Conv, Depthwise, Pool
from ._geometry import AXES, Size, as_size, as_tuple, change_dims
from ._layers import Layer, Op
from ._network import Head, Network
from ._walk import map_leaves


def with_spatial_dims(net: Network, spatial_dims: int) -> Network:
    """Return a network for images as one for signals (1) or for volumes and videos (3): the same layers and channels.

    In one dimension, a kernel, stride or dilation (height, width) becomes its width: the network for images of height 1. In
    three dimensions it becomes (height, height, width). The kernels (1, 7) and (7, 1) of Inception v3, which factorise one of
    7x7, so become (1, 1, 7) and (7, 7, 1): a line and a plane, which together see 7x7x7 positions. The dense layers of a head
    on a map of 7x7 see 7 positions of a signal. In three dimensions they see 7x7, the mean over the depth.

    Raises:
        ArgumentError: `net` is not for images, or contains an `Op`, whose module this function cannot change.
    """
    check_choice("spatial_dims", spatial_dims, AXES)
    if spatial_dims == net.spatial_dims:
        return net
    if net.spatial_dims != 2:
        raise ArgumentError(f"spatial_dims={spatial_dims}: the network has {net.spatial_dims}; only one for images can change")

    def change(layer: Layer) -> Layer:
        return map_leaves(layer, lambda leaf: _leaf_with_spatial_dims(leaf, spatial_dims))

    aux = (replace(aux, layers=change(aux.layers), head=_head_with_spatial_dims(aux.head, spatial_dims)) for aux in net.aux)
    return replace(
        net,
        stages=tuple((name, change(layer)) for name, layer in net.stages),
        head=_head_with_spatial_dims(net.head, spatial_dims),
        style=replace(net.style, spatial_dims=spatial_dims),
        aux=tuple(aux),
    )


def _leaf_with_spatial_dims(leaf: Layer, dims: int) -> Layer:
    def change(size: Size) -> Size:
        return as_size(change_dims(as_tuple(size, 2), dims))

    match leaf:
        case Op():
            raise ArgumentError(
                f"spatial_dims={dims} cannot change {leaf}; write the network with network(spatial_dims={dims})"
            )
        case Conv() | Depthwise() | Pool():
            return replace(leaf, kernel=change(leaf.kernel), stride=change(leaf.stride), dilation=change(leaf.dilation))
        case _:
            return leaf


def _head_with_spatial_dims(head: Head, dims: int) -> Head:
    height, width = as_tuple(head.size, 2)
    return replace(head, size=as_size({1: (width,), 3: (1, height, width)}[dims]))
