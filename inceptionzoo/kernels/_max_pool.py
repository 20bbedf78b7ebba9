"""Max pooling. Unlike torch's, the kernel does not write the indices of the maxima, which only training needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from llvmlite import ir
from torch import Tensor, nn

from ..spec import as_tuple, window_positions
from ._jit import EmitBody, choose_vector_width, kernel
from ._pooling import PoolOp, supports_window
from ._tile_args import Pair, TileArgs
from ._tile_kernels import TileBuilder


@kernel(TileArgs)
def max_pool_kernel(kernel_size: Pair, stride: Pair, vector_width: int) -> EmitBody:
    """Return what emits the kernel that writes the maximum of each window."""

    def emit_body(module: ir.Module) -> ir.Function:
        kernel = TileBuilder(module, kernel_size, stride, vector_width)
        source, target, padding_pixel = map(kernel.pointer, ("source", "target", "padding_pixel"))
        with kernel.item_loop() as tile:
            kernel.locate_pixels(tile, source, padding_pixel)
            with kernel.channel_loop() as channel:
                largest = _emit_maximum(kernel.builder, kernel.load_pixels(channel))
                kernel.store(largest, target, kernel.builder.add(kernel.element_offset(tile, 0), channel))
        kernel.builder.ret_void()
        return kernel.function

    return emit_body


def _emit_maximum(builder: ir.IRBuilder, values: list[ir.Value]) -> ir.Value:
    """Emit the largest of the vectors, element by element; nan if one of them is nan.

    `llvm.maximum` takes five instructions for each value. Here it is one for the maximum, and one for nan in each two values.
    """
    largest = reduce(lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b), values)
    if len(values) == 1:
        return largest
    pairs = zip(values[::2], values[1::2] + values[-1:], strict=False)
    has_nan = reduce(builder.or_, (builder.fcmp_unordered("uno", *pair) for pair in pairs))
    nan = ir.Constant(largest.type, [float("nan")] * largest.type.count)
    return builder.select(has_nan, nan, largest)


def supports(pool: nn.MaxPool2d) -> bool:
    """Return whether `MaxPoolOp` can replace the pool."""
    return as_tuple(pool.dilation, 2) == (1, 1) and not pool.return_indices and supports_window(pool)


class MaxPoolOp(PoolOp):
    """Max pool, (n, c, h, w) -> (n, c, h', w'), for inputs of c = `shape[1]` channels."""

    def __init__(self, pool: nn.MaxPool2d, shape: Sequence[int]) -> None:
        super().__init__(pool)
        self.ceil_mode = pool.ceil_mode
        self.padding_pixel = torch.full((shape[1],), float("-inf"), dtype=torch.float32, device="cpu")
        self.kernel = max_pool_kernel(self.kernel_size, self.stride, choose_vector_width(shape[1]))

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        axes = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        height, width = (window_positions(*axis, ceil=self.ceil_mode) for axis in axes)
        return x.shape[0], x.shape[1], height, width


class CopyOp(MaxPoolOp):
    """Copy of maps of c = `shape[1]` channels, with zeros around them: (n, c, h, w) -> (n, c, h + 2 * top, w + 2 * left).

    `padding` is (top, left).
    """

    def __init__(self, shape: Sequence[int], padding: Pair = (0, 0)) -> None:
        super().__init__(nn.MaxPool2d(1, padding=padding), shape)  # the maximum of one pixel is the pixel
        self.padding_pixel = torch.zeros(shape[1], dtype=torch.float32, device="cpu")
