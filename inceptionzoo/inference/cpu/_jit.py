"""Machine code of this processor, written in LLVM's intermediate language, compiled by llvmlite and run on torch's threads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from llvmlite import binding, ir

LONG, INT, POINTER, VOID = ir.IntType(64), ir.IntType(32), ir.PointerType(), ir.VoidType()
ENTRY = "team"  # the function of a module that `run` is to call


@cache
def openmp() -> Any:
    """Return the OpenMP that torch's own operations use: a second set of threads would contend with them.

    Raises:
        AttributeError, OSError: this torch has none of GNU's interface.
    """
    (library,) = (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")
    loaded = ctypes.CDLL(str(library))
    loaded.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    loaded.GOMP_parallel.restype = None
    return loaded


def launch(address: int, work: ctypes.Structure) -> None:
    """Call the function at `address` on each of torch's threads, with the same work."""
    openmp().GOMP_parallel(address, ctypes.byref(work), torch.get_num_threads(), 0)


def load_argument(at: ir.IRBuilder, work: Any, kind: type[ctypes.Structure], name: str) -> Any:
    """Write the reading of an integer of the work."""
    names = [entry[0] for entry in kind._fields_]
    return at.load(at.gep(work, [LONG(names.index(name))], source_etype=LONG), typ=LONG)


@dataclass
class LoopBody:
    """One turn of a loop: its index, what it was handed, and what it hands on."""

    index: Any
    carried: list[Any]
    handed_on: list[Any]


@contextmanager
def loop(at: ir.IRBuilder, first: Any, last: Any, step: int = 1, carried: Sequence[Any] = ()) -> Iterator[LoopBody]:
    """Write a loop from `first` up to `last`: what is written inside is its body. Afterwards `carried` are the last values."""
    before, (head, body, after) = at.block, (at.function.append_basic_block() for _ in range(3))
    at.branch(head)
    at.position_at_end(head)
    index, values = at.phi(LONG), [at.phi(value.type) for value in carried]
    for phi, value in zip([index, *values], [first, *carried], strict=True):
        phi.add_incoming(value, before)
    at.cbranch(at.icmp_signed("<", index, last), body, after)
    at.position_at_end(body)
    turn = LoopBody(index, values, values)
    yield turn
    following = [at.add(index, LONG(step)), *turn.handed_on]
    for phi, value in zip([index, *values], following, strict=True):
        phi.add_incoming(value, at.block)
    at.branch(head)
    at.position_at_end(after)


def compile_kernel(kind: type[ctypes.Structure], write: Callable[[ir.Module], ir.Function]) -> int:
    """Compile what is written, a function of the work, of its first item and its last; return the address for `run`.

    Each thread calls it with its share of the items `first` to `last` of the work.
    """
    module = ir.Module()
    _add_entry(module, write(module), kind)
    return compile_module(module)


def _add_entry(module: ir.Module, body: ir.Function, kind: type[ctypes.Structure]) -> None:
    team = ir.Function(module, ir.FunctionType(VOID, [POINTER]), ENTRY)
    at = ir.IRBuilder(team.append_basic_block())
    me, threads = (
        at.sext(at.call(openmp_function(module, ask), []), LONG) for ask in ("omp_get_thread_num", "omp_get_num_threads")
    )
    first, last = (load_argument(at, team.args[0], kind, edge) for edge in ("first", "last"))
    edges = [at.add(first, at.sdiv(at.mul(at.sub(last, first), at.add(me, LONG(more))), threads)) for more in (0, 1)]
    at.call(body, [team.args[0], *edges])
    at.ret_void()


def openmp_function(module: ir.Module, name: str, result: Any = INT) -> Any:
    """Return a function of OpenMP, without arguments, as one of the module's."""
    binding.add_symbol(f"inceptionzoo_{name}", ctypes.cast(getattr(openmp(), name), ctypes.c_void_p).value)
    known = module.globals.get(f"inceptionzoo_{name}")
    return known or ir.Function(module, ir.FunctionType(result, []), f"inceptionzoo_{name}")


def compile_module(module: ir.Module) -> int:
    """Compile the module and return where its team is. The code stays until the process ends."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    machine = binding.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3, jit=True)
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    engine = binding.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    _KEPT.append(engine)
    address: int = engine.get_function_address(ENTRY)
    return address


_KEPT: list[Any] = []


def vector_width(*channels: int) -> int:
    """Return how many floats a vector is to hold, of what this processor takes well, for maps of so many channels."""
    widest = 16 if binding.get_host_cpu_features().get("avx512f") else 8
    return next(size for size in (widest, 8, 4, 1) if not any(count % size for count in channels))
