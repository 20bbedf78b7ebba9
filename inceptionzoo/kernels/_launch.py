"""Run a sequence of kernel launches in a single OpenMP parallel region.

Starting a parallel region for each kernel costs more than a small kernel takes. Here the threads start once: each walks through
a table of launches and calls every kernel, with a barrier after each.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

from llvmlite import ir
from torch import Tensor

from ._buffers import ScratchArena, channels_last_rows, empty_channels_last
from ._jit import ENTRY_POINT, INT64, POINTER, VOID, compile_module, declare_openmp_function, emit_loop, launch
from ._kernel import KernelLaunch, KernelOp


class AddressFixup(NamedTuple):
    """An address in a kernel's arguments that depends on where a tensor is: `offset` bytes from the tensor's first value."""

    args: ctypes.Structure
    field: str
    tensor: int  # index in the tensors that the sequence is called with
    offset: int


class LaunchSequence:
    """Kernel launches to run in order; `fixups` are the addresses to set before each run."""

    def __init__(self, launches: Sequence[KernelLaunch], fixups: Sequence[AddressFixup] = ()) -> None:
        self.launches, self.fixups = list(launches), list(fixups)
        entries = [number for address, args in self.launches for number in (address, ctypes.addressof(args))]
        self.table = (ctypes.c_int64 * (1 + len(entries)))(len(self.launches), *entries)

    def __call__(self, tensors: Sequence[Tensor] = ()) -> None:
        for args, field, tensor, offset in self.fixups:
            setattr(args, field, tensors[tensor].data_ptr() + offset)
        launch(sequence_kernel(), self.table)


def prepare(implementation: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """Return a function that runs the implementation on x as a recorded program does, with all memory allocated beforehand."""
    if not isinstance(implementation, KernelOp):
        return partial(implementation, x)
    x = channels_last_rows(x)
    y, scratch = empty_channels_last(*implementation.output_shape(x)), ScratchArena()
    sequence = LaunchSequence(list(implementation.launches(x, y, scratch)))

    def run() -> object:
        sequence()
        return x, y, scratch  # the arguments hold addresses in them

    return run


@cache
def sequence_kernel() -> int:
    """Compile the function that runs a table of launches and return its address.

    The table holds 64-bit integers: the number of launches, then an entry point and the address of its arguments for each.
    """
    return compile_module("sequence_kernel", _emit_sequence)


def _emit_sequence(module: ir.Module) -> None:
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER]), ENTRY_POINT)
    builder, (table,) = ir.IRBuilder(function.append_basic_block()), function.args
    entry_type, barrier = ir.FunctionType(VOID, [POINTER]), declare_openmp_function(module, "GOMP_barrier", VOID)

    def load(index: ir.Value) -> ir.Value:
        return builder.load(builder.gep(table, [index], source_etype=INT64), typ=INT64)

    with emit_loop(builder, INT64(0), load(INT64(0))) as loop:
        index = builder.add(builder.mul(loop.index, INT64(2)), INT64(1))
        address, args = load(index), load(builder.add(index, INT64(1)))
        builder.call(builder.inttoptr(address, entry_type.as_pointer()), [builder.inttoptr(args, POINTER)])
        builder.call(barrier, [])
    builder.ret_void()
