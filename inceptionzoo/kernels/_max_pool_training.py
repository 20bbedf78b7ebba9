"""Max pooling with gradients. It keeps one byte for each maximum, and nothing else."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..spec import window_positions
from ._buffers import channels_last_rows, empty_channels_last
from ._jit import choose_vector_width, launch
from ._max_pool import supports as supports_output
from ._max_pool_gradient import MaxPoolGradientArgs, max_pool_gradient_kernel, max_position_kernel
from ._pooling import MAX_WINDOW, as_pair
from ._tile_args import Pair, TileArgs


def supports(pool: nn.MaxPool2d) -> bool:
    """Return whether `max_pool` can replace the pool. The kernel of the gradient holds code for each pixel of a stride."""
    return supports_output(pool) and prod(as_pair(pool.stride)) <= MAX_WINDOW


class MaxPoolFunction(torch.autograd.Function):
    """Max pool of x, (n, c, h, w), in channels_last memory: call `apply(x, kernel_size, stride, padding, ceil_mode)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Tensor:
        x = channels_last_rows(x)
        count, channels, *sides = x.shape
        axes = zip(sides, kernel_size, stride, padding, strict=True)
        grid = [window_positions(*axis, ceil=ceil_mode) for axis in axes]
        y = empty_channels_last(count, channels, grid[0], grid[1])
        positions = torch.empty((count, *grid, channels), dtype=torch.uint8, device="cpu")
        outside, tiles = x.new_full((channels,), float("-inf")), (0, count * grid[0] * grid[1])
        args = TileArgs.for_input(x, padding, outside, grid=grid, tiles=tiles, target=y.data_ptr(), tile_pitch=channels)
        args.positions = positions.data_ptr()
        launch(max_position_kernel(kernel_size, stride, choose_vector_width(channels)), args)
        ctx.shape, ctx.window = x.shape, (kernel_size, stride, padding, ceil_mode)
        ctx.save_for_backward(positions)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (positions,), (gradient,) = ctx.saved_tensors, gradients
        if torch.is_grad_enabled():  # a backward pass of the backward pass may follow
            x_gradient = _torch_gradient(gradient, positions, ctx.shape, ctx.window)
        else:
            x_gradient = _gradient(channels_last_rows(gradient), positions, ctx.shape, ctx.window)
        return x_gradient, None, None, None, None


def max_pool(pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    """Return the max pool of x, (n, c, h, w) -> (n, c, h', w')."""
    y: Tensor = MaxPoolFunction.apply(x, *map(as_pair, (pool.kernel_size, pool.stride, pool.padding)), pool.ceil_mode)
    return y


def _gradient(gradient: Tensor, positions: Tensor, shape: torch.Size, window: tuple[Pair, Pair, Pair, bool]) -> Tensor:
    """Return the gradient of an input of this shape."""
    count, channels, height, width = shape
    kernel_size, stride, padding, _ = window
    blocks = [-(-(side + pad) // step) for side, pad, step in zip((height, width), padding, stride, strict=True)]
    result = empty_channels_last(count, channels, height, width)
    zeros = gradient.new_zeros(channels)
    args = MaxPoolGradientArgs(
        gradient=gradient.data_ptr(), positions=positions.data_ptr(), target=result.data_ptr(), zeros=zeros.data_ptr(),
        height=height, width=width, rows=positions.shape[1], columns=positions.shape[2], block_rows=blocks[0],
        block_columns=blocks[1], channels=channels, gradient_stride=gradient.stride(3), stop=count * blocks[0] * blocks[1],
    )  # fmt: skip
    launch(max_pool_gradient_kernel(kernel_size, stride, padding, choose_vector_width(channels)), args)
    return result


def _torch_gradient(gradient: Tensor, positions: Tensor, shape: torch.Size, window: tuple[Pair, Pair, Pair, bool]) -> Tensor:
    """Return the gradient of an input of this shape by torch's operation, which itself has gradients."""
    kernel_size, stride, padding, ceil_mode = window
    taps = positions.permute(0, 3, 1, 2).long()
    rows, columns = torch.arange(taps.shape[2])[:, None], torch.arange(taps.shape[3])
    rows = rows * stride[0] - padding[0] + taps // kernel_size[1]
    columns = columns * stride[1] - padding[1] + taps % kernel_size[1]
    x = gradient.new_empty(shape)  # stands for the input: torch uses only its shape
    options = kernel_size, stride, padding, (1, 1), ceil_mode
    result: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, *options, rows * shape[3] + columns)
    return result
