"""An operation on maps as a list of compiled passes, each an address and what is to be done there."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from ._buffers import Room, by_pixel, maps, workspace
from ._jit import run


class Step(NamedTuple):
    """A pass: where its code is, and its work."""

    address: int
    work: ctypes.Structure


class Passes(ABC):
    """An operation on (n, c, h, w) with a pixel's channels in one piece."""

    @abstractmethod
    def shape(self, x: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the output for x."""

    @abstractmethod
    def steps(self, x: Tensor, y: Tensor, room: Room) -> Iterator[Step]:
        """Yield the passes that fill y, in order; they may work in the room's memory. Both have evenly spaced pixels."""

    def __call__(self, x: Tensor) -> Tensor:
        x = by_pixel(x)
        y = maps(*self.shape(x))
        for address, work in self.steps(x, y, workspace()):
            run(address, work)
        return y
