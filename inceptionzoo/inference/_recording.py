"""Record the stages of a network for one input layout as a sequence of kernel launches and torch calls.

The memory of feature maps is planned once. Each branch writes directly into its channels of the concatenated output.

Maps are (n, c, h, w). Those of a network of one dimension have height 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..kernels._add import add_launch
from ..kernels._buffers import ScratchArena, channels_last_rows
from ..kernels._jit import launch
from ..kernels._kernel import KernelLaunch, KernelOp
from ..kernels._launch import AddressFixup, LaunchSequence
from ..kernels._max_pool import CopyOp
from ..nn import Branches, is_relu
from ._conditions import ChangedLayoutError, must_use_torch
from ._fingerprint import is_known
from ._modules import FusedResidual, JoinedBranches, TunedOp
from ._program import MapLocation, Program, TorchCall
from ._shapes import CHAINS, output_shape
from ._signals import run_on_map


class ProgramTooLargeError(Exception):  # the executor catches it
    """The feature maps of a program need more memory than it may use."""


def record(stages: Sequence[nn.Module], x: Tensor, outputs: Sequence[int], limit: int, dims: int) -> Program:
    """Return the program of a network's stages, of `dims` dimensions, for inputs of x's layout and the number of threads.

    It returns the maps of the stages with the indices `outputs`, and runs no stage behind the last of them.

    Raises:
        ProgramTooLargeError: the feature maps need more than `limit` bytes.
        ChangedLayoutError: a torch function returns something else than a float32 map.
    """
    recorder = Recorder(x, limit, dims)
    with torch.inference_mode(False), torch.no_grad():
        maps = recorder.add_stages(stages, x, outputs)
    owners = recorder.scratch, recorder.buffers, recorder.operations
    return Program(recorder.steps(), list(map(recorder.locate, maps)), owners, recorder.size)


class Recorder:
    """Runs modules on an input and records the kernel launches and torch calls."""

    def __init__(self, x: Tensor, limit: int, dims: int) -> None:
        self.values, self.limit, self.dims = [x], limit, dims
        self.scratch, self.operations = ScratchArena(), list[KernelOp]()
        self.buffers, self._free_buffers = list[Tensor](), list[Tensor]()
        self.recorded = list[KernelLaunch | TorchCall]()
        self._copied = list[tuple[Tensor, Tensor]]()  # maps and their copies of `_rows`; no operation writes to these maps
        self._allocated: dict[int, tuple[Tensor, Tensor]] = {}  # map and its buffer, by the map's id

    @property
    def size(self) -> int:
        """Planned memory in bytes."""
        return 4 * (self.scratch.size + sum(map(len, self.buffers)))

    def add(self, module: nn.Module, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Run and record the module; return its output, which is `out` if given."""
        if isinstance(module, nn.Sequential) and type(module) in CHAINS:
            return self.add_chain(list(module), x, out)
        if isinstance(module, TunedOp) and isinstance(operation := module.implementation(x), KernelOp):
            return self._add_operation(operation, x, out)
        if isinstance(module, JoinedBranches):
            return self._add_joined(module, x, out)
        if type(module) is Branches:
            return self._add_branches([(branch, x) for branch in module.values()], out)
        if type(module) is FusedResidual and self._is_sum_of_maps(module, x):
            return self._add_residual(module, x, out)
        function = module if self.dims == 2 else partial(run_on_map, module, dims=self.dims)
        return self._add_torch_call(function, x, out, copies_input=not all(map(is_known, module.modules())))

    def locate(self, x: Tensor) -> MapLocation:
        """Return where a map lies at each call of the program."""
        for index, value in enumerate(self.values):
            if x is value:
                return MapLocation(None, index)
            if 0 <= x.data_ptr() - value.data_ptr() < _byte_extent(value):
                return MapLocation(None, index, (x.size(), x.stride(), (x.data_ptr() - value.data_ptr()) // 4))
        return MapLocation(x)

    def steps(self, start: int = 0, stop: int | None = None) -> list[LaunchSequence | TorchCall]:
        """Return the recorded items of this range, with the launches between two torch calls as one sequence."""
        steps: list[LaunchSequence | TorchCall] = []
        launches: list[KernelLaunch] = []
        for item in [*self.recorded[start:stop], None]:
            if isinstance(item, KernelLaunch):
                launches.append(item)
                continue
            if launches:
                steps.append(LaunchSequence(launches, [fixup for each in launches for fixup in self._fixups(each)]))
                launches = []
            steps += [item] if item else []
        return steps

    def _fixups(self, launch: KernelLaunch) -> Iterator[AddressFixup]:
        """Yield the addresses of a launch that point into values, which are other tensors at each call."""
        _, arguments = launch
        for name, *_ in arguments._fields_:
            number = getattr(arguments, name)
            for index, value in enumerate(self.values):
                if 0 <= number - value.data_ptr() < _byte_extent(value):
                    yield AddressFixup(arguments, name, index, number - value.data_ptr())
                    break

    def add_stages(self, stages: Sequence[nn.Module], x: Tensor, outputs: Sequence[int]) -> list[Tensor]:
        """Run and record stages one after the other; return the maps of those with the indices `outputs`."""
        maps, start = dict[int, Tensor](), 0
        for index in sorted(set(outputs)):
            maps[index] = x = self.add_chain(stages[start : index + 1], x)
            start = index + 1
        return [maps[index] for index in outputs]

    def add_chain(self, modules: Sequence[nn.Module], x: Tensor, out: Tensor | None = None) -> Tensor:
        """Run and record modules one after the other; return the last output, which is `out` if given."""
        y, modules = x, [module for module in modules if type(module) is not nn.Identity]
        for index, module in enumerate(modules):
            previous, y = y, self.add(module, y, out if index == len(modules) - 1 else None)
            if previous is not x and y.untyped_storage().data_ptr() != previous.untyped_storage().data_ptr():
                self._release(previous)
        if modules or out is None:
            return y
        return self._copy(x, out)

    def _add_joined(self, module: JoinedBranches, x: Tensor, out: Tensor | None) -> Tensor:
        y = self.add(module.first, x)
        joined = self._add_branches(module.branches(x, y), out)
        self._release(y)
        return joined

    def _add_branches(self, branches: Sequence[tuple[nn.Module, Tensor]], out: Tensor | None) -> Tensor:
        shapes = [output_shape(branch, x, self.dims) for branch, x in branches]
        widths = [shape[1] for shape in shapes]
        y = self._allocate(shapes[0][0], sum(widths), *shapes[0][2:]) if out is None else out
        for (branch, x), part in zip(branches, torch.split(y, widths, 1), strict=True):
            self.add(branch, x, part)
        return y

    def _is_sum_of_maps(self, module: FusedResidual, x: Tensor) -> bool:
        """Return whether the block is act(shortcut(x) + project(body(x))), of maps of one shape, and the kernel has `act`."""
        if not module.is_plain_sum or not (is_relu(module.act) or type(module.act) is nn.Identity):
            return False
        body = nn.Sequential(module.body, module.project)
        return output_shape(body, x, self.dims) == output_shape(module.shortcut, x, self.dims)

    def _add_residual(self, module: FusedResidual, x: Tensor, out: Tensor | None) -> Tensor:
        y = self.add_chain([module.body, module.tuned_project()], x, out)
        if y is not out and not self._is_own_map(y, x):
            y = self._copy(y, None)
        shortcut = x if type(module.shortcut) is nn.Identity else self.add(module.shortcut, x)
        self._launch([add_launch(self._rows(shortcut), y, relu=is_relu(module.act))])
        if shortcut is not x:
            self._release(shortcut)
        return y

    def _is_own_map(self, y: Tensor, x: Tensor) -> bool:
        """Return whether y is planned memory that an operation may overwrite, not a view of x."""
        return id(y) in self._allocated and y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()

    def _add_operation(self, operation: KernelOp, x: Tensor, out: Tensor | None) -> Tensor:
        rows = self._rows(x)
        y = self._allocate(*operation.output_shape(rows)) if out is None else out
        self._launch(operation.launches(rows, y, self.scratch))
        self.operations.append(operation)
        return y

    def _rows(self, x: Tensor) -> Tensor:
        """Return x with `row_strides`, copied once if it has none."""
        rows = channels_last_rows(x)
        if rows.data_ptr() == x.data_ptr():
            return rows
        copied = next((copy for value, copy in self._copied if value is x), None)
        if copied is None:
            copied = self._add_torch_call(channels_last_rows, x, None)
            self._copied.append((x, copied))
        return copied

    def _copy(self, x: Tensor, out: Tensor | None) -> Tensor:
        """Return a copy of x in planned memory, which is `out` if given."""
        return self._add_operation(CopyOp(x.shape), x, out)

    def _launch(self, launches: Iterable[KernelLaunch]) -> None:
        for kernel_launch in launches:
            launch(*kernel_launch)
            self.recorded.append(kernel_launch)

    def _add_torch_call(
        self, function: Callable[[Tensor], Tensor], x: Tensor, out: Tensor | None, *, copies_input: bool = False
    ) -> Tensor:
        location = self.locate(x)
        y = function(x.clone() if copies_input and location.planned is not None else x)
        if must_use_torch(y):
            raise ChangedLayoutError
        if out is None and self._is_planned(y):  # x itself or a view of it
            out = y
        self.recorded.append(TorchCall(function, location, out, (y.shape, y.stride(), y.dtype), copies_input))
        if out is None:
            self.values.append(y)
            return y
        return out.copy_(y)

    def _is_planned(self, x: Tensor) -> bool:
        address = x.untyped_storage().data_ptr()
        return any(buffer.untyped_storage().data_ptr() == address for buffer in self.buffers)

    def _allocate(self, count: int, channels: int, height: int, width: int) -> Tensor:
        """Return planned memory for a map; reuse the smallest free buffer of up to twice its size.

        Raises:
            ProgramTooLargeError: the planned memory would exceed the limit.
        """
        size = count * channels * height * width
        fitting = [buffer for buffer in self._free_buffers if size <= len(buffer) <= 2 * size]
        if fitting:
            buffer = min(fitting, key=len)
            self._free_buffers = [other for other in self._free_buffers if other is not buffer]
        else:
            buffer = torch.empty(size, dtype=torch.float32, device="cpu")
            self.buffers.append(buffer)
            if self.size > self.limit:
                raise ProgramTooLargeError
        allocated = buffer[:size].view(count, height, width, channels).permute(0, 3, 1, 2)
        self._allocated[id(allocated)] = allocated, buffer
        return allocated

    def _release(self, x: Tensor) -> None:
        if id(x) in self._allocated:
            self._free_buffers.append(self._allocated.pop(id(x))[1])


def _byte_extent(x: Tensor) -> int:
    """Return the number of bytes from a map's first value to the end of its last."""
    return 4 * (1 + sum((side - 1) * stride for side, stride in zip(x.shape, x.stride(), strict=True)))
