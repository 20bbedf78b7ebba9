"""Compile LLVM IR for this processor with llvmlite, and run the machine code on torch's OpenMP threads.

A kernel works on numbered items (tiles or matrix blocks). Its body is an LLVM function `body(args, start, stop)` that processes
the items from `start` up to, but not including, `stop`. `kernel` adds the entry point `entry(args)`, which runs once on
each thread: it splits the items evenly among the threads and calls the body with this thread's range. `args` points to a
ctypes structure whose fields are all 64-bit integers (addresses, sizes, strides); its fields `start` and `stop` give the range
of all items.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, cast

import torch
from llvmlite import binding, ir

from ..nn import private_torch
from ._tuning_cache import machine_code

INT8, INT32, INT64, POINTER, VOID = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.PointerType(), ir.VoidType()
P = ParamSpec("P")
EmitBody = Callable[[ir.Module], ir.Function]
OPENMP_FUNCTIONS = "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier"  # of torch's library, without parameters
SYMBOL = "inceptionzoo_{}"  # their names in modules
ENTRY_POINT = "entry"  # name of the function whose address compile_module returns
openmp = private_torch.openmp


def launch(address: int, args: ctypes.Structure | ctypes.Array[Any]) -> None:
    """Call the entry point at `address` with `args` on each of torch's threads, and wait until all have returned."""
    openmp().GOMP_parallel(address, ctypes.byref(args), torch.get_num_threads(), 0)


def load_arg(builder: ir.IRBuilder, args: ir.Value, args_type: type[ctypes.Structure], name: str) -> ir.Value:
    """Emit the load of the field `name` from the argument structure at `args`."""
    names = [field[0] for field in args_type._fields_]
    return builder.load(builder.gep(args, [INT64(names.index(name))], source_etype=INT64), typ=INT64)


def declare_body(module: ir.Module, args_type: type[ctypes.Structure]) -> tuple[ir.Function, ir.IRBuilder, dict[str, ir.Value]]:
    """Add the body of a kernel to the module; return it, a builder at its start, and the values of its arguments by name."""
    body = ir.Function(module, ir.FunctionType(VOID, [POINTER, INT64, INT64]), "body")
    builder = ir.IRBuilder(body.append_basic_block())
    names = [field[0] for field in args_type._fields_]
    return body, builder, {name: load_arg(builder, body.args[0], args_type, name) for name in names}


@dataclass
class LoopBody:
    """The body of a loop: its index, the loop-carried values, and the values they take in the next iteration."""

    index: ir.Value
    carried: list[ir.Value]
    next_carried: list[ir.Value]


@contextmanager
def emit_loop(
    builder: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: int = 1, carried: Sequence[ir.Value] = ()
) -> Iterator[LoopBody]:
    """Emit a loop over `range(start, stop, step)`. The code emitted inside the `with` block is its body.

    `carried` are the initial loop-carried values. The body assigns `next_carried`; after the loop, `carried` of the yielded
    object are the final values.
    """
    preheader, (header, body, exit_block) = builder.block, (builder.function.append_basic_block() for _ in range(3))
    builder.branch(header)
    builder.position_at_end(header)
    phis = [builder.phi(INT64), *(builder.phi(value.type) for value in carried)]
    for phi, value in zip(phis, [start, *carried], strict=True):
        phi.add_incoming(value, preheader)
    index, *values = phis
    builder.cbranch(builder.icmp_signed("<", index, stop), body, exit_block)
    builder.position_at_end(body)
    loop = LoopBody(index, values, values)
    yield loop
    for phi, value in zip(phis, [builder.add(index, INT64(step)), *loop.next_carried], strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(header)
    builder.position_at_end(exit_block)


def kernel(args_type: type[ctypes.Structure]) -> Callable[[Callable[P, EmitBody]], Callable[P, int]]:
    """Return a decorator that turns a function of a kernel's parameters into one that compiles the kernel.

    The function returns `emit_body`, which adds `body(args, start, stop)` to a module and returns it. The result of the
    decorator returns the address of the entry point, for `launch`. It compiles once for equal arguments, which are positional
    and name the machine code in the tuning cache: the kernel must depend on nothing else.
    """

    def decorate(make: Callable[P, EmitBody]) -> Callable[P, int]:
        @cache
        def compiled(*parameters: Any) -> int:
            def emit(module: ir.Module) -> None:
                _emit_entry_point(module, make(*parameters)(module), args_type)  # type: ignore[call-arg]  # they are those of P

            return compile_module(f"{make.__name__}{parameters}", emit)

        return cast("Callable[P, int]", wraps(make)(compiled))

    return decorate


def _emit_entry_point(module: ir.Module, body: ir.Function, args_type: type[ctypes.Structure]) -> None:
    entry = ir.Function(module, ir.FunctionType(VOID, [POINTER]), ENTRY_POINT)
    builder, (args,) = ir.IRBuilder(entry.append_basic_block()), entry.args
    thread, thread_count = (
        builder.sext(builder.call(declare_openmp_function(module, name), []), INT64)
        for name in ("omp_get_thread_num", "omp_get_num_threads")
    )
    start, stop = (load_arg(builder, args, args_type, name) for name in ("start", "stop"))
    bounds = []
    for offset in (0, 1):
        items = builder.mul(builder.sub(stop, start), builder.add(thread, INT64(offset)))
        bounds.append(builder.add(start, builder.sdiv(items, thread_count)))
    builder.call(body, [args, *bounds])
    builder.ret_void()


def declare_openmp_function(module: ir.Module, name: str, return_type: ir.Type = INT32) -> ir.Function:
    """Declare one of `OPENMP_FUNCTIONS` in the module, and return the declaration."""
    return ir.Function(module, ir.FunctionType(return_type, []), SYMBOL.format(name))


def compile_module(name: str, emit: Callable[[ir.Module], None]) -> int:
    """Compile the module that `emit` fills, and return the address of its entry point. The machine code is never freed.

    Modules of the same name are equal. Their machine code is kept in the tuning cache.
    """

    def compile_source() -> bytes:
        module = ir.Module()
        emit(module)
        parsed = binding.parse_assembly(str(module))
        parsed.verify()
        code: bytes = _target_machine().emit_object(parsed)
        return code

    library = binding.JITLibraryBuilder().add_object_img(machine_code(f"{_source_digest()} {name}", compile_source))
    for function in OPENMP_FUNCTIONS:
        library.import_symbol(SYMBOL.format(function), ctypes.cast(getattr(openmp(), function), ctypes.c_void_p).value)
    library.add_current_process().export_symbol(ENTRY_POINT)  # the process has memset and its like
    linked = library.link(_linker(), f"kernel {next(_NUMBERS)}")
    _LIBRARIES.append(linked)
    address: int = linked[ENTRY_POINT]
    return address


def _target_machine() -> Any:
    """Return LLVM's description of this processor."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    return binding.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3, jit=True)


@cache
def _linker() -> Any:
    """Return what loads machine code into this process."""
    return binding.create_lljit_compiler(_target_machine())


@cache
def _source_digest() -> str:
    """Return a hash of the source of all kernels, so that an edited kernel is compiled again."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


_LIBRARIES: list[Any] = []  # each owns its machine code
_NUMBERS = count()  # two threads never get the same one


@cache
def max_vector_width() -> int:
    """Return the largest vector to use on this processor, in floats: 16 with AVX-512, else 8."""
    return 16 if binding.get_host_cpu_features().get("avx512f") else 8


def choose_vector_width(channels: int) -> int:
    """Return the vector width, in floats, for maps with this number of channels: all, if one vector can hold them.

    Else it is the largest supported width that divides the number.
    """
    widths = channels, max_vector_width(), 8, 4, 1
    return next(width for width in widths if width <= max_vector_width() and channels % width == 0)
