"""Ops: what a torch module computes, as a sequence of kernel launches."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from torch import Tensor

from ._buffers import ScratchArena, channels_last_rows, empty_channels_last, replace_not_finite, thread_scratch
from ._jit import launch


class KernelLaunch(NamedTuple):
    """A kernel to run: the address of its entry point, and its arguments."""

    address: int
    args: ctypes.Structure


class KernelOp(ABC):
    """An op on feature maps, (n, c, h, w) -> (n, c', h', w'), in float32 and channels_last memory."""

    fallback: Callable[[Tensor], Tensor] | None = None
    """Computes the maps that are not finite, if the kernels carry nan and inf further than torch does."""

    @abstractmethod
    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the output for x."""

    @abstractmethod
    def launches(self, x: Tensor, y: Tensor, scratch: ScratchArena) -> Iterator[KernelLaunch]:
        """Yield the launches that compute y from x, in order. Their arguments hold addresses in x, y and `scratch`.

        x and y must have the strides of `row_strides`.
        """

    def __call__(self, x: Tensor) -> Tensor:
        x = channels_last_rows(x)
        y = empty_channels_last(*self.output_shape(x))
        scratch = thread_scratch()
        for address, args in self.launches(x, y, scratch):
            launch(address, args)
        scratch.trim()
        return y if self.fallback is None else replace_not_finite(y, partial(self.fallback, x))
