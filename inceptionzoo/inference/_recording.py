"""A stack of stages recorded for one kind of input: compiled passes that are played in one go, in memory planned before.

A branch writes into its place of the joined map. What torch runs is called between two stretches of passes; what it returns
lies elsewhere at each call, as the input does, and the passes that use it are told where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..nn import Branches
from ._modules import JoinedBranches, TunedOp
from .cpu._buffers import ScratchArena, channels_last_rows
from .cpu._jit import launch
from .cpu._kernel import KernelLaunch, KernelOp
from .cpu._launch import AddressFixup, LaunchSequence
from .cpu._max_pool import MaxPoolOp as Copying


class ProgramTooLargeError(Exception):  # nobody sees it
    """The maps of a program take more memory than it may have."""


@dataclass(frozen=True)
class MapLocation:
    """Where a map is: planned memory, or a view of a value, so many floats from its beginning."""

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
    """A function of torch's, on a map; its result is the next value, or goes into planned memory."""

    function: Callable[[Tensor], Tensor]
    x: MapLocation
    into: Tensor | None

    def __call__(self, values: list[Tensor]) -> None:
        y = self.function(self.x.resolve(values))
        if self.into is None:
            values.append(y)
        else:
            self.into.copy_(y)


class Program:
    """What `stages` do to inputs like x, in `limit` bytes at most: of the same size and strides, on as many threads.

    Raises:
        TooLarge: they take more.
    """

    def __init__(self, stages: nn.Sequential, x: Tensor, limit: int) -> None:
        tape = Recorder(x, limit)
        with torch.inference_mode(False), torch.no_grad():
            y = tape.add(stages, x)
        self._result, self._items = tape.locate(y), tape.grouped()
        self._kept = tape.room, tape.buffers, tape.ways  # passes have their addresses
        self.size = tape.size

    def __call__(self, x: Tensor) -> Tensor:
        values = [x]
        for item in self._items:
            item(values)
        y = self._result.resolve(values)
        return y if self._result.planned is None else y.clone()


class Recorder:
    """Runs stages, module by module, and takes down what they did."""

    def __init__(self, x: Tensor, limit: int) -> None:
        self.values, self.items, self.limit = [x], list[KernelLaunch | TorchCall](), limit
        self.room, self.ways = ScratchArena(), list[KernelOp]()
        self.buffers, self._free = list[Tensor](), list[Tensor]()
        self._lent: dict[int, tuple[Tensor, Tensor]] = {}  # by a map's id: the map, and its buffer

    @property
    def size(self) -> int:
        """Bytes that are planned."""
        return 4 * (self.room.size + sum(map(len, self.buffers)))

    def add(self, module: nn.Module, x: Tensor, into: Tensor | None = None) -> Tensor:
        """Run the module and return its output, which is `into` where that is given."""
        if isinstance(module, nn.Sequential):
            return self._chain(list(module), x, into)
        if isinstance(module, TunedOp) and isinstance(way := module.implementation(x), KernelOp):
            return self._passes(way, x, into)
        if isinstance(module, JoinedBranches):
            return self._joined(module, x, into)
        if isinstance(module, Branches):
            return self._branches([(branch, x) for branch in module.values()], into)
        return self._call(module, x, into)

    def locate(self, x: Tensor) -> MapLocation:
        """Return where a map will be at each call."""
        for index, value in enumerate(self.values):
            if x is value:
                return MapLocation(None, index)
            if 0 <= x.data_ptr() - value.data_ptr() < _byte_extent(value):
                return MapLocation(None, index, (x.size(), x.stride(), (x.data_ptr() - value.data_ptr()) // 4))
        return MapLocation(x)

    def grouped(self) -> list[LaunchSequence | TorchCall]:
        """Return what was taken down, passes between two calls as one."""
        played: list[LaunchSequence | TorchCall] = []
        steps: list[KernelLaunch] = []
        for item in [*self.items, None]:
            if isinstance(item, KernelLaunch):
                steps.append(item)
                continue
            if steps:
                played.append(LaunchSequence(steps, [moved for step in steps for moved in self._moved(step)]))
                steps = []
            played += [item] if item else []
        return played

    def _moved(self, step: KernelLaunch) -> Iterator[AddressFixup]:
        for name, *_ in step.args._fields_:
            number = getattr(step.args, name)
            for index, value in enumerate(self.values):
                if 0 <= number - value.data_ptr() < _byte_extent(value):
                    yield AddressFixup(step.args, name, index, number - value.data_ptr())
                    break

    def _chain(self, modules: list[nn.Module], start: Tensor, into: Tensor | None) -> Tensor:
        x = start
        for index, module in enumerate(modules):
            y = self.add(module, x, into if index == len(modules) - 1 else None)
            if x is not start and y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr():
                self._release(x)
            x = y
        if modules or into is None:
            return x
        return self._passes(Copying(nn.MaxPool2d(1), x.shape), x, into)

    def _joined(self, module: JoinedBranches, x: Tensor, into: Tensor | None) -> Tensor:
        y = self.add(module.first, x)
        parts = zip(module.joined.items(), torch.split(y, module.widths, 1), strict=True)
        branches = {int(place): (branch, part) for (place, branch), part in parts}
        branches |= {int(place): (branch, x) for place, branch in module.alone.items()}
        joined = self._branches([branches[place] for place in sorted(branches)], into)
        self._release(y)
        return joined

    def _branches(self, branches: Sequence[tuple[nn.Module, Tensor]], into: Tensor | None) -> Tensor:
        shapes = [branch(x.clone()).shape for branch, x in branches]  # of a copy, which the branch may work in
        widths = [shape[1] for shape in shapes]
        y = self._map(shapes[0][0], sum(widths), *shapes[0][2:]) if into is None else into
        for (branch, x), part in zip(branches, torch.split(y, widths, 1), strict=True):
            self.add(branch, x, part)
        return y

    def _passes(self, way: KernelOp, x: Tensor, into: Tensor | None) -> Tensor:
        even = channels_last_rows(x)
        if even is not x:
            even = self._call(channels_last_rows, x, None)
        y = self._map(*way.output_shape(even)) if into is None else into
        steps = list(way.launches(even, y, self.room))
        for address, work in steps:
            launch(address, work)
        self.items += steps
        self.ways.append(way)
        return y

    def _call(self, function: Callable[[Tensor], Tensor], x: Tensor, into: Tensor | None) -> Tensor:
        place, y = self.locate(x), function(x)
        if into is None and self._planned(y):  # x itself, or a part of it: no value of its own
            into = y
        self.items.append(TorchCall(function, place, into))
        if into is None:
            self.values.append(y)
            return y
        return into.copy_(y)

    def _planned(self, x: Tensor) -> bool:
        address = x.untyped_storage().data_ptr()
        return any(buffer.untyped_storage().data_ptr() == address for buffer in self.buffers)

    def _map(self, count: int, channels: int, height: int, width: int) -> Tensor:
        """Return planned memory for maps, taken from those that are needed no more where one is about as large."""
        size = count * channels * height * width
        fitting = [buffer for buffer in self._free if size <= len(buffer) <= 2 * size]
        if fitting:
            buffer = min(fitting, key=len)
            self._free = [other for other in self._free if other is not buffer]
        else:
            buffer = torch.empty(size)
            self.buffers.append(buffer)
            if self.size > self.limit:
                raise ProgramTooLargeError
        made = buffer[:size].view(count, height, width, channels).permute(0, 3, 1, 2)
        self._lent[id(made)] = made, buffer
        return made

    def _release(self, x: Tensor) -> None:
        if id(x) in self._lent:
            self._free.append(self._lent.pop(id(x))[1])


def _byte_extent(x: Tensor) -> int:
    """Return how many bytes lie from a map's first value to its last."""
    return 4 * (1 + sum((side - 1) * step for side, step in zip(x.shape, x.stride(), strict=True)))
