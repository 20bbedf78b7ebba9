"""Average pooling, followed by a bias and an optional ReLU, in one kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce

import torch
from llvmlite import ir
from torch import Tensor, nn
from torch.nn import functional as F

from ._buffers import ScratchArena
from ._codegen import FAST_MATH, FLOAT, element_pointer, relu_emitter, splat
from ._jit import EmitBody, choose_vector_width, kernel
from ._kernel import KernelLaunch
from ._pooling import PoolOp, supports_window
from ._tile_args import Pair, TileArgs
from ._tile_kernels import TileBuilder


@kernel(TileArgs)
def average_pool_kernel(kernel_size: Pair, stride: Pair, vector_width: int) -> EmitBody:
    """Return what emits the kernel that writes `relu(sum of the window * scale[window] + bias)`."""

    def emit_body(module: ir.Module) -> ir.Function:
        kernel = TileBuilder(module, kernel_size, stride, vector_width)
        builder, args = kernel.builder, kernel.args
        source, target, padding_pixel, bias, scales = map(
            kernel.pointer, ("source", "target", "padding_pixel", "bias", "scale")
        )
        with kernel.item_loop() as tile:
            kernel.locate_pixels(tile, source, padding_pixel)
            window = builder.srem(tile, builder.mul(args["grid_rows"], args["grid_columns"]))
            scale = splat(builder, builder.load(element_pointer(builder, scales, window), typ=FLOAT), vector_width)
            with kernel.channel_loop() as channel:
                total = reduce(partial(builder.fadd, flags=FAST_MATH), kernel.load_pixels(channel))
                average = builder.fmul(total, scale, flags=FAST_MATH)
                value = builder.fadd(average, kernel.load(bias, channel), flags=FAST_MATH)
                value = relu_emitter(builder, args["relu_channels"], channel, kernel.vector_type)(value)
                kernel.store(value, target, builder.add(kernel.element_offset(tile, 0), channel))
        builder.ret_void()
        return kernel.function

    return emit_body


def supports(pool: nn.Module) -> bool:
    """Return whether `AveragePoolOp` can replace the pool."""
    return type(pool) is nn.AvgPool2d and supports_window(pool)


class AveragePoolOp(PoolOp):
    """Average pool, then a bias per channel, then ReLU if `relu`: (n, c, h, w) -> (n, c, h', w').

    Inputs must have the c, h and w of `shape`.
    """

    def __init__(self, pool: nn.AvgPool2d, bias: Tensor, relu: bool, shape: Sequence[int]) -> None:
        super().__init__(pool)
        _, channels, *size = shape
        ones = torch.ones(1, 1, *size, dtype=torch.float32, device="cpu")
        pixels = F.avg_pool2d(ones, self.kernel_size, self.stride, self.padding, pool.ceil_mode, divisor_override=1)
        self.scale = (pool(ones) / pixels)[0, 0].contiguous()  # (h', w'): 1 / divisor of each window
        self.bias, self.relu_channels = bias.detach().contiguous(), channels * relu
        self.padding_pixel = torch.zeros(channels, dtype=torch.float32, device="cpu")
        self.kernel = average_pool_kernel(self.kernel_size, self.stride, choose_vector_width(channels))

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        height, width = self.scale.shape
        return x.shape[0], x.shape[1], height, width

    def launches(self, x: Tensor, y: Tensor, scratch: ScratchArena) -> Iterator[KernelLaunch]:
        for kernel_launch in super().launches(x, y, scratch):
            args = kernel_launch.args
            args.bias, args.scale, args.relu_channels = self.bias.data_ptr(), self.scale.data_ptr(), self.relu_channels
            yield kernel_launch
