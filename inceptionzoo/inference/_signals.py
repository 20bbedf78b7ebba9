"""Run the operations of one dimension by those of two, on maps of height 1: (n, c, length) is (n, c, 1, length)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

from torch import Tensor, nn
from torch.nn import functional as F

from ..kernels import make_conv2d
from ..nn import SameConv1d
from ..spec import as_tuple, is_one


def is_tunable_conv(module: nn.Module) -> bool:
    """Return whether a module is a convolution of one or two dimensions that `as_conv2d` can express."""
    if type(module) is SameConv1d:
        return is_one(module.stride) and (is_one(module.dilation) or not _same_padding(module) % 2)
    return type(module) in (nn.Conv1d, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def is_max_pool(module: nn.Module) -> TypeGuard[nn.MaxPool1d | nn.MaxPool2d]:
    """Return whether a module is exactly torch's max pool of one or two dimensions."""
    return type(module) in (nn.MaxPool1d, nn.MaxPool2d)


def is_avg_pool(module: nn.Module) -> TypeGuard[nn.AvgPool1d | nn.AvgPool2d]:
    """Return whether a module is exactly torch's average pool of one or two dimensions."""
    return type(module) in (nn.AvgPool1d, nn.AvgPool2d)


def as_map(x: Tensor) -> Tensor:
    """Return x as (n, c, h, w); signals have height 1."""
    return x.unsqueeze(2) if x.ndim == 3 else x


def like_input(y: Tensor, x: Tensor) -> Tensor:
    """Return the map y, (n, c, h, w), with as many dimensions as x."""
    return y.squeeze(2) if x.ndim == 3 else y


def run_on_map(function: Callable[[Tensor], Tensor], x: Tensor, dims: int) -> Tensor:
    """Return the result of a function of maps of `dims` dimensions for x, (n, c, h, w), as a map of two dimensions."""
    return function(x) if dims == 2 else function(x.squeeze(2)).unsqueeze(2)


def as_conv2d(conv: Any) -> nn.Conv2d:
    """Return a tunable convolution of one dimension as one of two dimensions, which are returned as they are.

    TensorFlow's "SAME" puts an odd pixel of padding at the end. A zero before the kernel makes the padding of both ends equal.
    """
    if type(conv) is nn.Conv2d:
        return conv
    weight, padding = conv.weight.detach(), int(conv.padding[0])
    if type(conv) is SameConv1d:
        total = _same_padding(conv)
        weight, padding = F.pad(weight, (total % 2, 0)), -(-total // 2)
    window = {"stride": (1, *conv.stride), "padding": (0, padding), "dilation": (1, *conv.dilation)}
    return make_conv2d(weight.unsqueeze(2), conv.bias, groups=conv.groups, **window)


def _same_padding(conv: SameConv1d) -> int:
    """Return the pixels that a convolution of stride 1 pads, at both ends together."""
    return (conv.kernel_size[0] - 1) * conv.dilation[0]


def as_max_pool2d(pool: Any) -> nn.MaxPool2d:
    """Return a max pool of one dimension as one of two; others as they are."""
    if type(pool) is nn.MaxPool2d:
        return pool
    kernel, stride, padding, dilation = map(_height_one, (pool.kernel_size, pool.stride, pool.padding, pool.dilation))
    return nn.MaxPool2d(kernel, stride, (0, padding[1]), dilation, pool.return_indices, pool.ceil_mode)


def as_avg_pool2d(pool: Any) -> nn.AvgPool2d:
    """Return an average pool of one dimension as one of two; others as they are."""
    if type(pool) is nn.AvgPool2d:
        return pool
    kernel, stride, padding = map(_height_one, (pool.kernel_size, pool.stride, pool.padding))
    return nn.AvgPool2d(kernel, stride, (0, padding[1]), pool.ceil_mode, pool.count_include_pad)


def _height_one(size: Any) -> tuple[int, int]:
    return 1, as_tuple(size, 1)[0]
