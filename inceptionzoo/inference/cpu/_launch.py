"""Passes played one after the other in one go: torch's threads stay together, and wait for each other between two."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
from llvmlite import ir
from torch import Tensor

from ._buffers import ScratchArena, channels_last_rows, empty_channels_last
from ._jit import ENTRY, LONG, POINTER, VOID, compile_module, loop, openmp, openmp_function
from ._kernel import KernelLaunch, KernelOp


class AddressFixup(NamedTuple):
    """An address in a pass's work that lies so many bytes from the beginning of a value, wherever that is now."""

    work: ctypes.Structure
    name: str
    value: int
    offset: int


class LaunchSequence:
    """Passes to be played in one go; `moved` are those of their addresses that differ from call to call."""

    def __init__(self, steps: Sequence[KernelLaunch], moved: Sequence[AddressFixup] = ()) -> None:
        self.steps, self.moved = list(steps), list(moved)
        numbers = [number for step in self.steps for number in (step.address, ctypes.addressof(step.work))]
        self.listed = (ctypes.c_int64 * (1 + len(numbers)))(len(self.steps), *numbers)

    def __call__(self, values: Sequence[Tensor] = ()) -> None:
        for work, name, value, offset in self.moved:
            setattr(work, name, values[value].data_ptr() + offset)
        openmp().GOMP_parallel(launch_loop(), ctypes.byref(self.listed), torch.get_num_threads(), 0)


def prepare(way: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """Return what runs `way` on x, as a program would."""
    if not isinstance(way, KernelOp):
        return partial(way, x)
    x = channels_last_rows(x)
    y, room = empty_channels_last(*way.output_shape(x)), ScratchArena()
    stretch, kept = LaunchSequence(list(way.launches(x, y, room))), (x, y, room)

    def play() -> object:
        stretch()
        return kept

    return play


@cache
def launch_loop() -> int:
    """Compile what calls each pass of a list with its work, a barrier after each; return its address."""
    module = ir.Module()
    team = ir.Function(module, ir.FunctionType(VOID, [POINTER]), ENTRY)
    at, listed = ir.IRBuilder(team.append_basic_block()), team.args[0]
    one, barrier = ir.FunctionType(VOID, [POINTER]), openmp_function(module, "GOMP_barrier", VOID)

    def entry(place: ir.Value) -> ir.Value:
        return at.load(at.gep(listed, [place], source_etype=LONG), typ=LONG)

    with loop(at, LONG(0), entry(LONG(0))) as turn:
        place = at.add(at.mul(turn.index, LONG(2)), LONG(1))
        code, work = entry(place), entry(at.add(place, LONG(1)))
        at.call(at.inttoptr(code, one.as_pointer()), [at.inttoptr(work, POINTER)])
        at.call(barrier, [])
    at.ret_void()
    return compile_module(module)
