"""An operation on maps as a list of compiled passes, each an address and what is to be done there."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from ._buffers import ScratchArena, channels_last_rows, empty_channels_last, thread_scratch
from ._jit import launch


class KernelLaunch(NamedTuple):
    """A pass: where its code is, and its work."""

    address: int
    work: ctypes.Structure


class KernelOp(ABC):
    """An operation on (n, c, h, w) with a pixel's channels in one piece."""

    @abstractmethod
    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the output for x."""

    @abstractmethod
    def launches(self, x: Tensor, y: Tensor, room: ScratchArena) -> Iterator[KernelLaunch]:
        """Yield the passes that fill y, in order; they may work in the room's memory. Both have evenly spaced pixels."""

    def __call__(self, x: Tensor) -> Tensor:
        x = channels_last_rows(x)
        y = empty_channels_last(*self.output_shape(x))
        for address, work in self.launches(x, y, thread_scratch()):
            launch(address, work)
        return y
