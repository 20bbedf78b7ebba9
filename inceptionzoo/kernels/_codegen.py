"""Emit the LLVM IR that several kernels share: arguments, loops, loads and stores of vectors, multiply-add, ReLU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir

from ._jit import INT32, INT64, POINTER, VOID, declare_body, emit_loop

FLOAT = ir.FloatType()
FAST_MATH = ("contract", "nsz")  # allow fused multiply-adds; other fast-math flags would change the results for inf and nan


class VectorBuilder:
    """Builder of the body of a kernel that goes through arrays of floats, a vector of `vector_width` channels at a time.

    `args_type` is the structure of the kernel's arguments, of which `channels` is one.
    """

    def __init__(self, module: ir.Module, args_type: type[ctypes.Structure], vector_width: int) -> None:
        self.function, self.builder, self.args = declare_body(module, args_type)
        self.vector_type = ir.VectorType(FLOAT, vector_width)

    def pointer(self, name: str) -> ir.Value:
        """Emit the conversion of an argument to a pointer."""
        return self.builder.inttoptr(self.args[name], POINTER)

    def load(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        """Emit the load of a vector."""
        return self.builder.load(element_pointer(self.builder, pointer, offset), typ=self.vector_type, align=4)

    def store(self, value: ir.Value, pointer: ir.Value, offset: ir.Value) -> None:
        """Emit the store of a vector."""
        self.builder.store(value, element_pointer(self.builder, pointer, offset), align=4)

    def constant(self, value: float) -> ir.Constant:
        """Return a vector of equal elements."""
        return ir.Constant(self.vector_type, [value] * self.vector_type.count)

    @contextmanager
    def item_loop(self) -> Iterator[ir.Value]:
        """Emit a loop over the items of this thread, of those from `start` to `stop`; yield the number of the item."""
        _, start, stop = self.function.args
        with emit_loop(self.builder, start, stop) as loop:
            yield loop.index

    @contextmanager
    def channel_loop(self) -> Iterator[ir.Value]:
        """Emit a loop over vectors of channels; yield the first channel of the vector."""
        with emit_loop(self.builder, INT64(0), self.args["channels"], self.vector_type.count) as loop:
            yield loop.index


def element_pointer(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value) -> ir.Value:
    """Emit the address of the float with this index in the array at `pointer`."""
    return builder.gep(pointer, [index], source_etype=FLOAT)


def minimum(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Emit the lesser of two signed integers."""
    return builder.select(builder.icmp_signed("<", x, y), x, y)


def maximum(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Emit the greater of two signed integers."""
    return builder.select(builder.icmp_signed(">", x, y), x, y)


def multiply_add(builder: ir.IRBuilder, x: ir.Value, factor: ir.Value, addend: ir.Value) -> ir.Value:
    """Emit `x * factor + addend` for vectors of floats, rounded once."""
    name = f"llvm.fma.v{x.type.count}f32"
    fma = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(x.type, [x.type] * 3), name)
    return builder.call(fma, [x, factor, addend])


def prefetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Emit the fetch of a cache line into the cache of the second level, to read it as data."""
    name = "llvm.prefetch.p0"
    function_type = ir.FunctionType(VOID, [POINTER, INT32, INT32, INT32])
    function = builder.module.globals.get(name) or ir.Function(builder.module, function_type, name)
    builder.call(function, [address, INT32(0), INT32(2), INT32(1)])


def splat(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    """Emit a vector whose `width` elements all equal `value`."""
    undefined, zeros = (
        ir.Constant(ir.VectorType(value.type, width), ir.Undefined),
        ir.Constant(ir.VectorType(INT32, width), [0] * width),
    )
    return builder.shuffle_vector(builder.insert_element(undefined, value, INT32(0)), undefined, zeros)


def relu_emitter(
    builder: ir.IRBuilder, relu_channels: ir.Value, channel: ir.Value, vector_type: ir.VectorType
) -> Callable[[ir.Value], ir.Value]:
    """Return a function that emits ReLU of a vector of channels that begins with `channel`; nan stays nan.

    ReLU applies to channels below `relu_channels`, others are left as they are: the lower bound is 0 or -inf. The bounds are
    emitted here, once for all vectors of these channels.
    """
    remaining = splat(builder, builder.sub(relu_channels, channel), vector_type.count)
    rectified = builder.icmp_signed("<", ir.Constant(remaining.type, list(range(vector_type.count))), remaining)
    zero, minus_inf = (ir.Constant(vector_type, [bound] * vector_type.count) for bound in (0.0, float("-inf")))
    bound = builder.select(rectified, zero, minus_inf)
    return lambda value: builder.select(builder.fcmp_ordered("<", value, bound), bound, value)
