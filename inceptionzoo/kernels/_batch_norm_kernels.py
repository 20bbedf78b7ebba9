"""Kernels of batch normalisation followed by ReLU, forward and backward, for maps in channels_last memory.

A map is rows of channels, one row for each pixel. With the statistics of the batch, the normalisation is `x * scale + shift`
for each channel. Whether ReLU passed a value is computed again in the backward pass, so that no mask is kept.

Two kernels sum over rows. They write the sums of each chunk of `CHUNK` rows; the caller adds these in float64.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from llvmlite import ir

from ._codegen import FAST_MATH, FLOAT, VectorBuilder, minimum, multiply_add, splat
from ._jit import INT64, EmitBody, emit_loop, kernel

CHUNK = 256  # rows
UNROLL = 4  # rows that are summed in registers


class RowArgs(ctypes.Structure):
    """Arguments of a kernel on rows. Addresses are in bytes, strides in floats; x and the target have no gaps between rows."""

    NAMES = (
        "x", "gradient", "target",  # addresses of maps; `gradient` is that of ReLU's output
        "scale", "shift", "mean", "slope", "offset",  # addresses of a float per channel
        "sums",  # address of the sums, (chunks, slots, channels)
        "rows", "channels",
        "gradient_stride",  # from a row of the gradient to the next
        "start", "stop",  # range of rows, or of chunks, to process
    )  # fmt: skip
    _fields_ = [(name, ctypes.c_int64) for name in NAMES]  # ctypes wants a list


class _RowBuilder(VectorBuilder):
    """Builder of the body of a kernel on rows."""

    def __init__(self, module: ir.Module, vector_width: int) -> None:
        super().__init__(module, RowArgs, vector_width)

    def load_from(self, name: str, offset: ir.Value) -> ir.Value:
        """Emit the load of a vector from the array `name`."""
        return self.load(self.pointer(name), offset)

    def store_to(self, name: str, value: ir.Value, offset: ir.Value) -> None:
        """Emit the store of a vector to the array `name`."""
        self.store(value, self.pointer(name), offset)

    def row_offset(self, row: ir.Value, channel: ir.Value, stride: str = "channels") -> ir.Value:
        """Emit the offset of a channel in a row of a map."""
        return self.builder.add(self.builder.mul(row, self.args[stride]), channel)

    def load_map(self, name: str, row: ir.Value, channel: ir.Value) -> ir.Value:
        """Emit the load of a vector of a row of the map `name`."""
        return self.load_from(name, self.row_offset(row, channel, "gradient_stride" if name == "gradient" else "channels"))

    def normalized(self, x: ir.Value, channel: ir.Value) -> ir.Value:
        """Emit `x * scale + shift`, rounded once: both passes must agree on its sign."""
        return multiply_add(self.builder, x, self.load_from("scale", channel), self.load_from("shift", channel))

    def relu_gradient(self, x: ir.Value, row: ir.Value, channel: ir.Value) -> ir.Value:
        """Emit the gradient of ReLU's input; that of nan is passed, as in torch."""
        passed = self.builder.fcmp_unordered(">", self.normalized(x, channel), self.constant(0.0))
        return self.builder.select(passed, self.load_map("gradient", row, channel), self.constant(0.0))

    def emit_map(self, compute: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Function:
        """Emit `target = compute(row, channel)` for each vector of the rows, and return the function."""
        with self.item_loop() as row, self.channel_loop() as channel:
            self.store_to("target", compute(row, channel), self.row_offset(row, channel))
        self.builder.ret_void()
        return self.function

    def emit_chunks(self, slots: int, emit_chunk: Callable[[_Chunk], None]) -> ir.Function:
        """Emit a loop over chunks, each with `slots` sums per channel, which are 0 at first; return the function."""
        builder = self.builder
        with self.item_loop() as number:
            first = builder.mul(number, INT64(CHUNK))
            last = minimum(builder, builder.add(first, INT64(CHUNK)), self.args["rows"])
            length = builder.mul(self.args["channels"], INT64(slots))
            chunk = _Chunk(self, first, last, builder.mul(number, length))
            with emit_loop(builder, INT64(0), length, self.vector_type.count) as value:
                self.store_to("sums", self.constant(0.0), builder.add(chunk.sums, value.index))
            emit_chunk(chunk)
        builder.ret_void()
        return self.function


@dataclass
class _Chunk:
    """A chunk of rows from `first` to before `last`; `sums` is the offset of its sums, (slots, channels)."""

    rows: _RowBuilder
    first: ir.Value
    last: ir.Value
    sums: ir.Value

    def slot(self, slot: int, channel: ir.Value) -> ir.Value:
        """Emit the offset of a sum of this channel."""
        builder = self.rows.builder
        return builder.add(builder.add(self.sums, builder.mul(INT64(slot), self.rows.args["channels"])), channel)

    def emit_sums(self, slots: Sequence[int], terms: Callable[[ir.Value, ir.Value], Sequence[ir.Value]]) -> None:
        """Emit the addition of `terms(row, channel)` of each row to the sums in `slots`."""
        builder = self.rows.builder
        whole = builder.sub(self.last, builder.srem(builder.sub(self.last, self.first), INT64(UNROLL)))
        for first, last, unroll in ((self.first, whole, UNROLL), (whole, self.last, 1)):
            with emit_loop(builder, first, last, unroll) as row, self.rows.channel_loop() as channel:
                offsets = [self.slot(slot, channel) for slot in slots]
                totals = [self.rows.load_from("sums", offset) for offset in offsets]
                for index in range(unroll):
                    values = terms(builder.add(row.index, INT64(index)), channel)
                    totals = [builder.fadd(total, value, flags=FAST_MATH) for total, value in zip(totals, values, strict=True)]
                for total, offset in zip(totals, offsets, strict=True):
                    self.rows.store_to("sums", total, offset)


@kernel(RowArgs)
def moments_kernel(vector_width: int) -> EmitBody:
    """Return what emits the kernel that sums d and d * d, where d = x - m and m is the mean of the chunk, rounded; and m.

    The second pass over a chunk reads it from the cache.
    """

    def emit_body(module: ir.Module) -> ir.Function:
        rows = _RowBuilder(module, vector_width)
        builder = rows.builder

        def emit_chunk(chunk: _Chunk) -> None:
            chunk.emit_sums([2], lambda row, channel: [rows.load_map("x", row, channel)])
            count = builder.sitofp(builder.sub(chunk.last, chunk.first), FLOAT)
            inverse = splat(builder, builder.fdiv(FLOAT(1.0), count), vector_width)
            with rows.channel_loop() as channel:
                offset = chunk.slot(2, channel)
                rows.store_to("sums", builder.fmul(rows.load_from("sums", offset), inverse), offset)

            def terms(row: ir.Value, channel: ir.Value) -> list[ir.Value]:
                mean = rows.load_from("sums", chunk.slot(2, channel))
                difference = builder.fsub(rows.load_map("x", row, channel), mean)
                return [difference, builder.fmul(difference, difference, flags=FAST_MATH)]

            chunk.emit_sums([0, 1], terms)

        return rows.emit_chunks(3, emit_chunk)

    return emit_body


@kernel(RowArgs)
def normalize_kernel(vector_width: int) -> EmitBody:
    """Return what emits the kernel that writes relu(x * scale + shift); nan stays nan."""

    def emit_body(module: ir.Module) -> ir.Function:
        rows = _RowBuilder(module, vector_width)

        def compute(row: ir.Value, channel: ir.Value) -> ir.Value:
            value, zero = rows.normalized(rows.load_map("x", row, channel), channel), rows.constant(0.0)
            return rows.builder.select(rows.builder.fcmp_ordered("<", value, zero), zero, value)

        return rows.emit_map(compute)

    return emit_body


@kernel(RowArgs)
def gradient_sums_kernel(vector_width: int) -> EmitBody:
    """Return what emits the kernel that sums g and g * (x - mean), where g is the gradient of ReLU's input."""

    def emit_body(module: ir.Module) -> ir.Function:
        rows = _RowBuilder(module, vector_width)

        def terms(row: ir.Value, channel: ir.Value) -> list[ir.Value]:
            x = rows.load_map("x", row, channel)
            gradient = rows.relu_gradient(x, row, channel)
            difference = rows.builder.fsub(x, rows.load_from("mean", channel))
            return [gradient, rows.builder.fmul(gradient, difference, flags=FAST_MATH)]

        return rows.emit_chunks(2, lambda chunk: chunk.emit_sums([0, 1], terms))

    return emit_body


@kernel(RowArgs)
def gradient_kernel(vector_width: int) -> EmitBody:
    """Return what emits the kernel that writes g * scale + x * slope + offset, where g is the gradient of ReLU's input."""

    def emit_body(module: ir.Module) -> ir.Function:
        rows = _RowBuilder(module, vector_width)
        multiply, add = (partial(getattr(rows.builder, name), flags=FAST_MATH) for name in ("fmul", "fadd"))

        def compute(row: ir.Value, channel: ir.Value) -> ir.Value:
            x = rows.load_map("x", row, channel)
            gradient = rows.relu_gradient(x, row, channel)
            linear = add(multiply(x, rows.load_from("slope", channel)), rows.load_from("offset", channel))
            return add(multiply(gradient, rows.load_from("scale", channel)), linear)

        return rows.emit_map(compute)

    return emit_body
