"""Emit the LLVM IR that several kernels share: addresses, bounds of integers, vectors of equal elements, multiply-add, ReLU."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ._jit import INT32

FLOAT = ir.FloatType()
FAST_MATH = ("contract", "nsz")  # allow fused multiply-adds; other fast-math flags would change the results for inf and nan


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
