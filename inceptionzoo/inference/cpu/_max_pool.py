"""A max pool of (n, c, h, w), channels_last, without the indices that torch's keeps for training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce

import torch
from llvmlite import ir
from torch import Tensor, nn

from ...spec import as_pair
from . import _windows as windows
from ._codegen import KernelBuilder, Pair, TileArgs
from ._jit import compile_kernel, vector_width
from ._windows import WindowOp


@cache
def max_pool_kernel(size: Pair, step: Pair, width: int) -> int:
    """Compile the pass over windows of this size at these steps, `width` channels at a time; return its address."""

    def write(module: ir.Module) -> ir.Function:
        to = KernelBuilder(module, size, step, width)
        larger = ir.Function(module, ir.FunctionType(to.vector, [to.vector] * 2), f"llvm.maximum.v{width}f32")  # nan stays nan
        source, target, outside = map(to.address, ("source", "target", "outside"))
        with to.tiles() as tile:
            to.locate_pixels(tile, source, outside)
            with to.channels() as channel:
                most = reduce(lambda one, other: to.at.call(larger, [one, other]), to.read_pixels(channel))
                to.write(most, target, to.at.add(to.tile_offset(tile, 0), channel))
        to.at.ret_void()
        return to.function

    return compile_kernel(TileArgs, write)


def supports(pool: nn.MaxPool2d) -> bool:
    """Return whether the pool can run so."""
    return as_pair(pool.dilation) == (1, 1) and not pool.return_indices and windows.supports(pool)


class MaxPoolOp(WindowOp):
    """A max pool of maps of `shape`."""

    def __init__(self, pool: nn.MaxPool2d, shape: Sequence[int]) -> None:
        super().__init__(pool)
        self.ceil = pool.ceil_mode
        self.outside = torch.full((shape[1],), float("-inf"))
        self.address = max_pool_kernel(self.size, self.step, vector_width(shape[1]))

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        rows, columns = (self._outputs(axis, side) for axis, side in enumerate(x.shape[2:]))
        return x.shape[0], x.shape[1], rows, columns

    def _outputs(self, axis: int, side: int) -> int:
        step, padding = self.step[axis], self.padding[axis]
        room = side + 2 * padding - self.size[axis]
        outputs = (-(-room // step) if self.ceil else room // step) + 1
        return outputs - (self.ceil and (outputs - 1) * step >= side + padding)  # no window begins beyond the padding
