"""A pass over windows of (n, c, h, w), one output a window: what max and average pools have in common."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import Tensor, nn

from ...spec import as_pair
from ._buffers import Room
from ._codegen import Work
from ._kernel import Passes, Step

LARGEST = 25  # pixels


def suits(pool: nn.MaxPool2d | nn.AvgPool2d) -> bool:
    """Return whether a pass can hold the pool's window."""
    return 1 < prod(as_pair(pool.kernel_size)) <= LARGEST


class Windows(Passes):
    """The pool's windows: `address` is the pass over them, `outside` what a pixel beyond the border holds."""

    address: int
    outside: Tensor

    def __init__(self, pool: nn.MaxPool2d | nn.AvgPool2d) -> None:
        assert pool.stride is not None
        self.size, self.step, self.padding = as_pair(pool.kernel_size), as_pair(pool.stride), as_pair(pool.padding)
        self.more: dict[str, int] = {}  # of the pass's work

    def steps(self, x: Tensor, y: Tensor, room: Room) -> Iterator[Step]:  # noqa: ARG002  # of any pass
        (count, channels, height, width), (rows, columns) = x.shape, y.shape[2:]
        yield Step(self.address, Work(
            source=x.data_ptr(), target=y.data_ptr(), outside=self.outside.data_ptr(), height=height, width=width,
            top=self.padding[0], left=self.padding[1], rows=rows, columns=columns, last=count * rows * columns,
            channels=channels, stride=x.stride(3), pitch=y.stride(3), **self.more,
        ))  # fmt: skip
