"""A pass over windows of (n, c, h, w), one output a window: what max and average pools have in common."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import Tensor, nn

from ...spec import as_pair
from ._buffers import ScratchArena
from ._codegen import TileArgs
from ._kernel import KernelLaunch, KernelOp

MAX_WINDOW = 25  # pixels


def supports(pool: nn.MaxPool2d | nn.AvgPool2d) -> bool:
    """Return whether a pass can hold the pool's window."""
    return 1 < prod(as_pair(pool.kernel_size)) <= MAX_WINDOW


class WindowOp(KernelOp):
    """The pool's windows: `address` is the pass over them, `outside` what a pixel beyond the border holds."""

    address: int
    outside: Tensor

    def __init__(self, pool: nn.MaxPool2d | nn.AvgPool2d) -> None:
        assert pool.stride is not None
        self.size, self.step, self.padding = as_pair(pool.kernel_size), as_pair(pool.stride), as_pair(pool.padding)
        self.more: dict[str, int] = {}  # of the pass's work

    def launches(self, x: Tensor, y: Tensor, room: ScratchArena) -> Iterator[KernelLaunch]:  # noqa: ARG002  # of any pass
        (count, channels, height, width), (rows, columns) = x.shape, y.shape[2:]
        yield KernelLaunch(self.address, TileArgs(
            source=x.data_ptr(), target=y.data_ptr(), outside=self.outside.data_ptr(), height=height, width=width,
            top=self.padding[0], left=self.padding[1], rows=rows, columns=columns, last=count * rows * columns,
            channels=channels, stride=x.stride(3), pitch=y.stride(3), **self.more,
        ))  # fmt: skip
