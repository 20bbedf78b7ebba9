"""A recorded program: kernel launches and torch calls that compute the maps of a network's stages.

Operations without a kernel are called as torch functions between two sequences of launches. The addresses of their results
and of the network's input change from call to call, so the launches that use them are updated first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels._launch import LaunchSequence
from ._conditions import ChangedLayoutError


@dataclass(frozen=True)
class MapLocation:
    """Where a feature map lies: in planned memory, or in a value of the current call (`view`: size, strides, offset).

    The values of a call are the network's input and the results of torch functions; `value` is the index of one.
    """

    planned: Tensor | None
    value: int = 0
    view: tuple[torch.Size, tuple[int, ...], int] | None = None

    def resolve(self, values: Sequence[Tensor]) -> Tensor:
        if self.planned is not None:
            return self.planned
        value = values[self.value]
        if self.view is None:
            return value
        size, stride, offset = self.view
        return value.as_strided(size, stride, value.storage_offset() + offset)


@dataclass(frozen=True)
class TorchCall:
    """A call of a torch function; its result is appended to the values, or copied to `out` in planned memory.

    `layout` is the shape, strides and data type of the result at the recording: the launches after the call rely on them. With
    `copies_input` the function gets a copy of a map in planned memory, which it may keep.

    Raises:
        ChangedLayoutError: the result has another layout, or lies in planned memory, which it did not at the recording.
    """

    function: Callable[[Tensor], Tensor]
    x: MapLocation
    out: Tensor | None
    layout: tuple[torch.Size, tuple[int, ...], torch.dtype]
    copies_input: bool = False

    def __call__(self, values: list[Tensor]) -> None:
        x = self.x.resolve(values)
        y = self.function(x.clone() if self.copies_input and self.x.planned is not None else x)
        if (y.shape, y.stride(), y.dtype) != self.layout:
            raise ChangedLayoutError
        if self.out is not None:
            self.out.copy_(y)
            return
        if self.x.planned is not None and y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr():
            raise ChangedLayoutError
        values.append(y)


class Program:
    """A recorded program; `record` makes it. It returns the maps at `results`.

    `owners` hold the memory that launches point to; `size` is the planned memory in bytes.
    """

    def __init__(
        self, steps: Sequence[LaunchSequence | TorchCall], results: Sequence[MapLocation], owners: object, size: int
    ) -> None:
        self._steps, self._results, self._owners, self.size = steps, results, owners, size

    def __call__(self, x: Tensor) -> list[Tensor]:
        values = [x]
        for step in self._steps:
            step(values)
        return [result.resolve(values) if result.planned is None else result.planned.clone() for result in self._results]
