"""Output shapes of a fused network's modules."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Branches, ResidualBlock, Steps
from ..spec import as_tuple, dilated_extent, window_positions
from ._modules import ConvAct, JoinedBranches, PoolBiasAct, TunedMaxPool
from ._signals import as_avg_pool2d, as_conv2d, as_max_pool2d, is_avg_pool, is_max_pool, is_tunable_conv, run_on_map

Shape = tuple[int, ...]
CHAINS = nn.Sequential, Steps  # exactly these types


def output_shape(module: nn.Module, x: Tensor, dims: int) -> Shape:
    """Return the shape of the output for the map x, (n, c, h, w), of a module of `dims` dimensions.

    A module of unknown type is run to find its output shape, on a copy of x because it may work in place.
    """
    shape = _compute(module, tuple(x.shape))
    return tuple(run_on_map(module, x.clone(), dims).shape) if shape is None else shape


def _compute(module: nn.Module, shape: Shape) -> Shape | None:
    """Return the output shape for inputs of `shape`, or None if the module contains one of unknown type."""
    match module:
        case nn.Sequential() if type(module) in CHAINS:
            return _compute_chain(module, shape)
        case ConvAct():
            return _compute(module.conv, shape)
        case TunedMaxPool() | PoolBiasAct():
            return _compute(module.pool, shape)
        case ResidualBlock():
            return _compute(module.shortcut, shape)
        case Branches():
            return _concatenate([_compute(branch, shape) for branch in module.values()])
        case JoinedBranches():
            return _compute_joined(module, shape)
        case _ if is_tunable_conv(module):
            conv = as_conv2d(module)
            return _slide(conv, shape, conv.out_channels, as_tuple(conv.dilation, 2))
        case _ if is_max_pool(module):
            max_pool = as_max_pool2d(module)
            return _slide(max_pool, shape, shape[1], as_tuple(max_pool.dilation, 2), ceil=max_pool.ceil_mode)
        case _ if is_avg_pool(module):
            average_pool = as_avg_pool2d(module)
            return _slide(average_pool, shape, shape[1], (1, 1), ceil=average_pool.ceil_mode)
        case _:
            return shape if type(module) is nn.Identity else None


def _compute_chain(modules: nn.Sequential, shape: Shape) -> Shape | None:
    result: Shape | None = shape
    for module in modules:
        result = result and _compute(module, result)
    return result


def _compute_joined(module: JoinedBranches, shape: Shape) -> Shape | None:
    first = _compute(module.first, shape)
    if first is None:
        return None
    parts = zip(module.joined.values(), module.widths, strict=True)
    joined = [_compute(branch, (first[0], width, *first[2:])) for branch, width in parts]
    return _concatenate([*joined, *(_compute(branch, shape) for branch in module.alone.values())])


def _concatenate(shapes: list[Shape | None]) -> Shape | None:
    """Return the shape of maps of these shapes concatenated along channels."""
    known = [shape for shape in shapes if shape is not None]
    return (known[0][0], sum(shape[1] for shape in known), *known[0][2:]) if len(known) == len(shapes) else None


def _slide(
    module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d, shape: Shape, channels: int, dilation: tuple[int, ...], ceil: bool = False
) -> Shape:
    """Return the output shape of a convolution or pool."""
    kernel_size, stride, padding = (as_tuple(size, 2) for size in (module.kernel_size, module.stride, module.padding))  # type: ignore[arg-type]  # torch declares them wider
    axes = zip(shape[2:], dilated_extent(kernel_size, dilation), stride, padding, strict=True)
    return shape[0], channels, *(window_positions(*axis, ceil=ceil) for axis in axes)
