"""Kernels of batch normalisation that work on channels: they add the sums of all chunks, and compute what each channel needs.

They compute in float64 and round the results once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

from llvmlite import ir

from ._batch_norm_kernels import CHUNK
from ._codegen import FLOAT, element_pointer, minimum, splat
from ._jit import INT64, POINTER, EmitBody, declare_body, emit_loop, kernel

WIDTH = 8  # channels that are computed at a time; a divisor of `_training.CHANNEL_MULTIPLE`
DOUBLE = ir.DoubleType()
VECTOR = ir.VectorType(DOUBLE, WIDTH)


class ChannelArgs(ctypes.Structure):
    """Arguments of a kernel on channels. Addresses are in bytes."""

    NAMES = (
        "sums",  # address of the sums, (chunks, slots, channels)
        "weight", "bias", "scale", "mean", "inverse",  # addresses of a float per channel
        "results",  # address of the results, (vectors, channels)
        "epsilon",  # address of a double
        "rows", "channels", "chunks",
        "start", "stop",  # range of vectors of channels
    )  # fmt: skip
    _fields_ = [(name, ctypes.c_int64) for name in NAMES]  # ctypes wants a list


class _Channels:
    """Builder of the body of a kernel on channels."""

    def __init__(self, module: ir.Module, slots: int) -> None:
        self.function, self.builder, self.args = declare_body(module, ChannelArgs)
        self.slots = slots
        self.rows = self.splat(self.builder.sitofp(self.args["rows"], DOUBLE))
        self.channel: ir.Value = INT64(0)

    def emit(self, compute: Callable[[], Sequence[ir.Value]]) -> ir.Function:
        """Emit `results = compute()` for each vector of channels, and return the function."""
        _, start, stop = self.function.args
        with emit_loop(self.builder, start, stop) as loop:
            self.channel = self.builder.mul(loop.index, INT64(WIDTH))
            for slot, value in enumerate(compute()):
                rounded = self.builder.fptrunc(value, ir.VectorType(FLOAT, WIDTH))
                self.builder.store(rounded, self._pointer("results", INT64(slot)), align=4)
        self.builder.ret_void()
        return self.function

    def load(self, name: str, row: ir.Value | None = None) -> ir.Value:
        """Emit the load of the channels of a row, by default the first, of an array of floats."""
        pointer = self._pointer(name, INT64(0) if row is None else row)
        loaded = self.builder.load(pointer, typ=ir.VectorType(FLOAT, WIDTH), align=4)
        return self.builder.fpext(loaded, VECTOR)

    def _pointer(self, name: str, row: ir.Value) -> ir.Value:
        offset = self.builder.add(self.builder.mul(row, self.args["channels"]), self.channel)
        return element_pointer(self.builder, self.builder.inttoptr(self.args[name], POINTER), offset)

    def total(self, count: int, terms: Callable[[ir.Value, list[ir.Value]], Sequence[ir.Value]]) -> list[ir.Value]:
        """Emit the `count` sums of `terms(rows of a chunk, its sums)` over the chunks."""
        builder = self.builder
        with emit_loop(builder, INT64(0), self.args["chunks"], carried=[self.constant(0.0)] * count) as loop:
            left = builder.sub(self.args["rows"], builder.mul(loop.index, INT64(CHUNK)))
            length = minimum(builder, left, INT64(CHUNK))
            first = builder.mul(loop.index, INT64(self.slots))
            sums = [self.load("sums", builder.add(first, INT64(slot))) for slot in range(self.slots)]
            values = terms(self.splat(builder.sitofp(length, DOUBLE)), sums)
            loop.next_carried = [builder.fadd(total, value) for total, value in zip(loop.carried, values, strict=True)]
        return loop.carried

    def constant(self, value: float) -> ir.Constant:
        return ir.Constant(VECTOR, [value] * WIDTH)

    def splat(self, value: ir.Value) -> ir.Value:
        return splat(self.builder, value, WIDTH)

    def product(self, *factors: ir.Value) -> ir.Value:
        result = factors[0]
        for factor in factors[1:]:
            result = self.builder.fmul(result, factor)
        return result


@kernel(ChannelArgs)
def statistics_kernel() -> EmitBody:
    """Return what emits the kernel that writes scale, shift, mean, 1 / deviation and variance, from the sums of the moments.

    Chan's formula joins the moments of the chunks, which are about their own means: no digits are lost if the mean is large.
    """

    def emit_body(module: ir.Module) -> ir.Function:
        channels = _Channels(module, slots=3)
        builder, product = channels.builder, channels.product
        sqrt = ir.Function(module, ir.FunctionType(VECTOR, [VECTOR]), f"llvm.sqrt.v{WIDTH}f64")

        def weighted_mean(rows: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            return [builder.fadd(product(rows, sums[2]), sums[0])]

        def compute() -> list[ir.Value]:
            mean = builder.fdiv(*channels.total(1, weighted_mean), channels.rows)

            def squares(rows: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                shift = builder.fdiv(sums[0], rows)
                about_own_mean = builder.fsub(sums[1], product(sums[0], shift))
                distance = builder.fsub(builder.fadd(sums[2], shift), mean)
                return [builder.fadd(about_own_mean, product(distance, distance, rows))]

            variance = builder.fdiv(*channels.total(1, squares), channels.rows)
            zero = channels.constant(0.0)
            variance = builder.select(builder.fcmp_ordered("<", variance, zero), zero, variance)
            epsilon = builder.load(builder.inttoptr(channels.args["epsilon"], POINTER), typ=DOUBLE)
            deviation = builder.call(sqrt, [builder.fadd(variance, channels.splat(epsilon))])
            inverse = builder.fdiv(channels.constant(1.0), deviation)
            scale = product(channels.load("weight"), inverse)
            shift = builder.fsub(channels.load("bias"), product(mean, scale))
            return [scale, shift, mean, inverse, variance]

        return channels.emit(compute)

    return emit_body


@kernel(ChannelArgs)
def gradients_kernel() -> EmitBody:
    """Return what emits the kernel that writes the gradients of weight and bias, and `gradient_kernel`'s slope and offset."""

    def emit_body(module: ir.Module) -> ir.Function:
        channels = _Channels(module, slots=2)
        builder, product = channels.builder, channels.product

        def compute() -> list[ir.Value]:
            total, moment = channels.total(2, lambda _, sums: sums)
            scale, mean, inverse = map(channels.load, ("scale", "mean", "inverse"))
            factor = builder.fdiv(scale, builder.fneg(channels.rows))
            slope = product(moment, factor, inverse, inverse)
            offset = builder.fsub(product(total, factor), product(slope, mean))
            return [product(moment, inverse), total, slope, offset]

        return channels.emit(compute)

    return emit_body
