"""A max pool of (n, c, h, w), channels_last, without the indices that torch's keeps for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, reduce
from math import prod

import torch
from llvmlite import ir
from torch import Tensor, nn

from ..spec import pair
from .buffers import Room
from .machine import compiled, vector
from .passes import Passes, Step
from .writer import Pair, Work, Writer


@cache
def maxima(size: Pair, step: Pair, width: int) -> int:
    """Compile the pass over windows of this size at these steps, `width` channels at a time; return its address."""

    def write(module: ir.Module) -> ir.Function:
        to = Writer(module, size, step, width)
        larger = ir.Function(module, ir.FunctionType(to.vector, [to.vector] * 2), f"llvm.maximum.v{width}f32")  # nan stays nan
        source, target, outside = map(to.address, ("source", "target", "outside"))
        with to.tiles() as tile:
            to.find_pixels(tile, source, outside)
            with to.channels() as channel:
                most = reduce(lambda one, other: to.at.call(larger, [one, other]), to.read_pixels(channel))
                to.write(most, target, to.at.add(to.place(tile, 0), channel))
        to.at.ret_void()
        return to.function

    return compiled(Work, write)


def suits(pool: nn.MaxPool2d) -> bool:
    """Return whether the pool can run so."""
    return pair(pool.dilation) == (1, 1) and not pool.return_indices and 1 < prod(pair(pool.kernel_size)) <= 25


class MaxPool(Passes):
    """A max pool of maps of `shape`."""

    def __init__(self, pool: nn.MaxPool2d, shape: Sequence[int]) -> None:
        assert pool.stride is not None
        self.size, self.step, self.padding = pair(pool.kernel_size), pair(pool.stride), pair(pool.padding)
        self.ceil = pool.ceil_mode
        self.outside = torch.full((shape[1],), float("-inf"))
        self.address = maxima(self.size, self.step, vector(shape[1]))

    def shape(self, x: Tensor) -> tuple[int, int, int, int]:
        rows, columns = (self._outputs(axis, side) for axis, side in enumerate(x.shape[2:]))
        return x.shape[0], x.shape[1], rows, columns

    def steps(self, x: Tensor, y: Tensor, room: Room) -> Iterator[Step]:  # noqa: ARG002  # of any pass
        (count, channels, height, width), (rows, columns) = x.shape, y.shape[2:]
        yield Step(self.address, Work(
            source=x.data_ptr(), target=y.data_ptr(), outside=self.outside.data_ptr(), height=height, width=width,
            top=self.padding[0], left=self.padding[1], rows=rows, columns=columns, last=count * rows * columns,
            channels=channels, stride=x.stride(3), pitch=y.stride(3),
        ))  # fmt: skip

    def _outputs(self, axis: int, side: int) -> int:
        step, padding = self.step[axis], self.padding[axis]
        room = side + 2 * padding - self.size[axis]
        outputs = (-(-room // step) if self.ceil else room // step) + 1
        return outputs - (self.ceil and (outputs - 1) * step >= side + padding)  # no window begins beyond the padding
