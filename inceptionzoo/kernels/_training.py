"""Operations of a training step by kernels, where these are faster than torch's.

The choice depends on shapes and settings alone, not on measurements, so that a training gives the same values on every run.
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..nn import compact_max_pool, private_torch, window
from ._capabilities import has_jit
from ._conditions import is_kernel_input
from ._convolution_training import ConvSettings, convolve
from ._normalization_source import find_source
from ._tile_args import Pair

MIN_PRODUCTS = 200_000_000  # multiplications from which on Winograd's algorithm takes less time than a direct convolution
MIN_PIXELS = 1024  # of the output maps: with fewer, the transforms of the weight take longer than the rest
CHANNEL_MULTIPLE = 8  # a vector of channels, without which the transforms are slow
MAX_TAPS = 5  # along an axis: with more, F(4, r) rounds too much


class KernelOps:
    """The operations of `nn.TrainingOps`. Each calls the module if a kernel cannot replace it or would be slower."""

    def convolve(self, conv: nn.Module, x: Tensor) -> Tensor:
        """Return `conv(x)`, (n, c, h, w) -> (n, k, h', w')."""
        if type(conv) is not nn.Conv2d or not _is_replaceable(conv, x):
            y: Tensor = conv(x)
            return y
        source = find_source(x) if conv.weight.requires_grad and torch.is_grad_enabled() else None
        stride, padding, dilation = map(_pair, (conv.stride, conv.padding, conv.dilation))
        settings = ConvSettings(_method(conv, x), stride, padding, dilation, conv.groups)
        return convolve(x, conv.weight, conv.bias, settings, source)

    def normalizes(self, bn: nn.Module | None, act: nn.Module | None, x: Tensor) -> bool:
        """Return whether `normalize_relu` can replace `act(bn(x))`."""
        return (
            type(bn) is nn.BatchNorm2d
            and type(act) is nn.ReLU
            and bn.training
            and is_kernel_input(x)
            and x.shape[1] == bn.num_features
            and x.shape[1] % CHANNEL_MULTIPLE == 0
            and x.numel() > x.shape[1]
            and _is_channels_last(x)
            and all(map(_is_plain_parameter, (bn.weight, bn.bias)))
            and not private_torch.is_hooked(bn)
            and not private_torch.is_hooked(act)
            and has_jit()
        )

    def normalize_relu(self, bn: nn.Module | None, x: Tensor) -> Tensor:
        """Return relu(bn(x)), (n, c, h, w)."""
        from ._batch_norm import normalize_relu

        assert isinstance(bn, nn.BatchNorm2d)
        return normalize_relu(bn, x)

    def max_pool(self, pool: nn.MaxPool2d, x: Tensor) -> Tensor:
        """Return the max pool of x, (n, c, h, w), of which a backward pass keeps as little as possible."""
        if is_kernel_input(x) and x.shape[1] % CHANNEL_MULTIPLE == 0 and _is_channels_last(x) and has_jit():
            from ._max_pool_training import max_pool, supports
            from ._pooling import window_fits

            if supports(pool) and window_fits(pool, x):
                return max_pool(pool, x)
        return compact_max_pool(x, window(pool))


def _is_replaceable(conv: nn.Conv2d, x: Tensor) -> bool:
    """Return whether a convolution is in training mode, and its operands are in channels_last memory."""
    return (
        conv.training
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and is_kernel_input(x)
        and x.shape[1] == conv.in_channels
        and _is_channels_last(x)
        and _is_channels_last(conv.weight)
        and all(_is_plain_parameter(values) for values in (conv.weight, conv.bias) if values is not None)
        and not private_torch.is_hooked(conv)
    )


def _method(conv: nn.Conv2d, x: Tensor) -> Literal["winograd", "product", "torch"]:
    """Return the fastest method for the convolution."""
    has_stride_1 = (conv.stride, conv.dilation, conv.groups) == ((1, 1), (1, 1), 1)
    if not has_stride_1 or not all(0 <= side < taps for side, taps in zip(_pair(conv.padding), conv.kernel_size, strict=True)):
        return "torch"
    if max(conv.kernel_size) == 1:
        return "product"
    return "winograd" if _prefers_winograd(conv, x) else "torch"


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _is_plain_parameter(values: Tensor) -> bool:
    return type(values) is nn.Parameter and values.dtype == torch.float32 and values.device.type == "cpu"


def _pair(values: Any) -> Pair:
    down, across = values
    return int(down), int(across)


def _prefers_winograd(conv: nn.Conv2d, x: Tensor) -> bool:
    sizes = zip(x.shape[2:], _pair(conv.padding), conv.kernel_size, strict=True)
    pixels = len(x) * prod(size + 2 * side - taps + 1 for size, side, taps in sizes)
    return (
        pixels >= MIN_PIXELS
        and pixels * conv.weight.numel() >= MIN_PRODUCTS
        and not conv.in_channels % CHANNEL_MULTIPLE
        and not conv.out_channels % CHANNEL_MULTIPLE
        and max(conv.kernel_size) <= MAX_TAPS
        and has_jit()
    )
