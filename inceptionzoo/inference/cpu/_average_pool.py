"""An average pool of (n, c, h, w), channels_last, then a bias and, where asked for, ReLU, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial, reduce

import torch
from llvmlite import ir
from torch import Tensor, nn
from torch.nn import functional as F

from . import _windows as windows
from ._codegen import FLAGS, FLOAT, KernelBuilder, Pair, TileArgs, broadcast, relu_of
from ._jit import compile_kernel, vector_width
from ._windows import WindowOp


@cache
def average_pool_kernel(size: Pair, step: Pair, width: int) -> int:
    """Compile the pass over windows of this size at these steps, `width` channels at a time; return its address."""

    def write(module: ir.Module) -> ir.Function:
        to = KernelBuilder(module, size, step, width)
        at, work = to.at, to.work
        source, target, outside, bias, scale = map(to.address, ("source", "target", "outside", "bias", "scale"))
        with to.tiles() as tile:
            to.locate_pixels(tile, source, outside)
            position = at.srem(tile, at.mul(work["rows"], work["columns"]))
            share = broadcast(at, at.load(at.gep(scale, [position], source_etype=FLOAT), typ=FLOAT), width)
            with to.channels() as channel:
                total = reduce(partial(at.fadd, flags=FLAGS), to.read_pixels(channel))
                value = at.fadd(at.fmul(total, share, flags=FLAGS), to.read(bias, channel), flags=FLAGS)
                value = relu_of(at, work["relu"], channel, to.vector)(value)
                to.write(value, target, at.add(to.tile_offset(tile, 0), channel))
        at.ret_void()
        return to.function

    return compile_kernel(TileArgs, write)


def supports(pool: nn.Module) -> bool:
    """Return whether the pool can run so."""
    return type(pool) is nn.AvgPool2d and windows.supports(pool)


class AveragePoolOp(WindowOp):
    """An average pool of maps of `shape`, then a bias, and ReLU where `relu`."""

    def __init__(self, pool: nn.AvgPool2d, bias: Tensor, relu: bool, shape: Sequence[int]) -> None:
        super().__init__(pool)
        ones = torch.ones(1, 1, *shape[2:])
        pixels = F.avg_pool2d(ones, self.size, self.step, self.padding, pool.ceil_mode, divisor_override=1)
        self.scale = (pool(ones) / pixels)[0, 0].contiguous()  # one over what each window is divided by
        self.bias, self.outside = bias.detach(), torch.zeros(shape[1])
        self.more = {"bias": self.bias.data_ptr(), "scale": self.scale.data_ptr(), "relu": shape[1] * relu}
        self.address = average_pool_kernel(self.size, self.step, vector_width(shape[1]))

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        rows, columns = self.scale.shape
        return x.shape[0], x.shape[1], rows, columns
