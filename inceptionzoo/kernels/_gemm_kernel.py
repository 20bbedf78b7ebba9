"""Emit the kernel of `Gemm`. It computes y one register block at a time, whose sums stay in registers.

The register blocks below each other in a group of rows read the same panel of the weight: they are a strip, and each thread
computes one strip after the other. If rows or columns are not a multiple of the block, the last block is moved back to overlap
the one before it. During a strip, the kernel fetches the panel of the next one into the cache. The processor would not: it
foresees reads in sequence, but hardly beyond a page of memory, and a panel is about as large.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir

from ._codegen import FLOAT, element_pointer, maximum, minimum, multiply_add, prefetch, relu_emitter, splat
from ._jit import INT8, INT64, POINTER, EmitBody, declare_body, emit_loop, kernel

DEPTH_UNROLL = 4  # the depth must be a multiple of it
CACHE_LINE = 64  # bytes


class GemmArgs(ctypes.Structure):
    """Arguments of a GEMM kernel. Addresses are in bytes, strides in floats."""

    NAMES = (
        "x", "weight", "bias", "y",  # addresses; the weight is packed
        "rows", "depth", "columns", "x_batch_stride", "weight_batch_stride", "y_batch_stride",
        "start", "stop",  # range of register blocks to compute
        "groups", "panels",  # groups of rows, and panels of all matrices
        "relu_columns",  # ReLU applies to this number of leading columns
    )  # fmt: skip
    _fields_ = [(name, ctypes.c_int64) for name in NAMES]  # ctypes wants a list


class RegisterBlock(NamedTuple):
    """The block of y that is computed at a time: each of its rows is `vectors` vectors of `vector_width` floats."""

    rows: int
    vectors: int
    vector_width: int

    @property
    def columns(self) -> int:
        return self.vectors * self.vector_width


class Fetch(NamedTuple):
    """What the loop over the depth fetches into the cache: `lines` cache lines in each of its steps, `distance` bytes apart."""

    lines: int
    address: ir.Value  # of the first
    distance: ir.Value


class Strip(NamedTuple):
    """The values that the register blocks of a strip share."""

    rows: ir.Value
    x: ir.Value  # address of the first row
    y: ir.Value  # address of the first row, at the strip's first column
    bias: ir.Value  # address of the first column's
    panel: ir.Value  # address
    next_panel: ir.Value  # address
    relus: list[Callable[[ir.Value], ir.Value]]  # for each vector of a row


def step_bytes(block: RegisterBlock) -> int:
    """Return how much of a panel the loop over the depth reads in a step."""
    return 4 * DEPTH_UNROLL * block.columns


@kernel(GemmArgs)
def gemm_kernel(block: RegisterBlock, x_row_stride: int, y_row_stride: int, fetches: int) -> EmitBody:
    """Return what emits the GEMM kernel.

    In each of its steps, the loop over the depth fetches `fetches` cache lines of the next panel.
    """

    def emit_body(module: ir.Module) -> ir.Function:
        body, builder, args = declare_body(module, GemmArgs)
        _, start, stop = body.args
        strip_blocks = _divide_up(builder, _divide_up(builder, args["rows"], args["groups"]), INT64(block.rows))
        block_fetches = builder.mul(builder.sdiv(args["depth"], INT64(DEPTH_UNROLL)), INT64(fetches))
        distance = builder.sdiv(INT64(step_bytes(block)), builder.mul(strip_blocks, INT64(max(fetches, 1))))
        with emit_loop(builder, builder.sdiv(start, strip_blocks), _divide_up(builder, stop, strip_blocks)) as strips:
            strip = _emit_strip(builder, block, (x_row_stride, y_row_stride), args, strips.index)
            first_block = builder.mul(strips.index, strip_blocks)
            first = maximum(builder, builder.sub(start, first_block), INT64(0))
            end = minimum(builder, builder.sub(stop, first_block), strip_blocks)
            with emit_loop(builder, first, end) as blocks:
                row = _block_start(builder, blocks.index, strip.rows, block.rows)
                x = element_pointer(builder, strip.x, builder.mul(row, INT64(x_row_stride)))
                y = element_pointer(builder, strip.y, builder.mul(row, INT64(y_row_stride)))
                fetched = builder.mul(builder.mul(blocks.index, block_fetches), distance)
                fetch = Fetch(fetches, builder.gep(strip.next_panel, [fetched], source_etype=INT8), distance)
                sums = _emit_sums(builder, block, x_row_stride, args["depth"], x, strip, fetch)
                _emit_store(builder, block, y_row_stride, strip.relus, sums, y)
        builder.ret_void()
        return body

    return emit_body


def _divide_up(builder: ir.IRBuilder, value: ir.Value, divisor: ir.Value) -> ir.Value:
    """Emit value / divisor, rounded up."""
    return builder.sdiv(builder.add(value, builder.sub(divisor, INT64(1))), divisor)


def _block_start(builder: ir.IRBuilder, index: ir.Value, length: ir.Value, size: int) -> ir.Value:
    """Emit the start of block `index`; the last block is moved back to end at `length`."""
    return minimum(builder, builder.mul(index, INT64(size)), builder.sub(length, INT64(size)))


def _emit_strip(
    builder: ir.IRBuilder, block: RegisterBlock, row_strides: tuple[int, int], args: dict[str, ir.Value], index: ir.Value
) -> Strip:
    """Emit the values of the strip with this index. Strips are numbered by group, matrix and panel."""
    group, panel = builder.sdiv(index, args["panels"]), builder.srem(index, args["panels"])
    first_row, next_row = (
        builder.sdiv(builder.mul(args["rows"], number), args["groups"]) for number in (group, builder.add(group, INT64(1)))
    )
    panels = _divide_up(builder, args["columns"], INT64(block.columns))  # of a matrix
    matrix, panel = builder.sdiv(panel, panels), builder.srem(panel, panels)
    column = _block_start(builder, panel, args["columns"], block.columns)
    x, weight, bias, y = (builder.inttoptr(args[name], POINTER) for name in ("x", "weight", "bias", "y"))
    x_row, y_row = (
        builder.add(builder.mul(matrix, args[batch_stride]), builder.mul(first_row, INT64(stride)))
        for batch_stride, stride in zip(("x_batch_stride", "y_batch_stride"), row_strides, strict=True)
    )
    panel_floats = builder.mul(args["depth"], INT64(block.columns))
    weight_offset = builder.add(builder.mul(matrix, args["weight_batch_stride"]), builder.mul(panel, panel_floats))
    address = element_pointer(builder, weight, weight_offset)
    vector_type = ir.VectorType(FLOAT, block.vector_width)
    columns = (builder.add(column, INT64(vector * block.vector_width)) for vector in range(block.vectors))
    return Strip(
        rows=builder.sub(next_row, first_row),
        x=element_pointer(builder, x, x_row),
        y=element_pointer(builder, y, builder.add(y_row, column)),
        bias=element_pointer(builder, bias, column),
        panel=address,
        next_panel=element_pointer(builder, address, panel_floats),
        relus=[relu_emitter(builder, args["relu_columns"], start, vector_type) for start in columns],
    )


def _emit_sums(
    builder: ir.IRBuilder,
    block: RegisterBlock,
    x_row_stride: int,
    depth: ir.Value,
    x: ir.Value,
    strip: Strip,
    fetch: Fetch,
) -> list[ir.Value]:
    """Emit the loop over the depth for one register block; return its vectors of sums, row by row.

    x is the address of the block's first row.
    """
    vector_type = ir.VectorType(FLOAT, block.vector_width)

    def load_vectors(pointer: ir.Value) -> list[ir.Value]:
        pointers = (element_pointer(builder, pointer, INT64(index * block.vector_width)) for index in range(block.vectors))
        return [builder.load(pointer, typ=vector_type, align=4) for pointer in pointers]

    def load_splat(row: int, k: ir.Value) -> ir.Value:
        pointer = element_pointer(builder, element_pointer(builder, x, k), INT64(row * x_row_stride))
        return splat(builder, builder.load(pointer, typ=FLOAT), block.vector_width)

    with emit_loop(builder, INT64(0), depth, DEPTH_UNROLL, [fetch.address, *load_vectors(strip.bias) * block.rows]) as loop:
        address, *sums = loop.carried
        for _ in range(fetch.lines):
            prefetch(builder, address)
            address = builder.gep(address, [fetch.distance], source_etype=INT8)
        for offset in range(DEPTH_UNROLL):
            k = builder.add(loop.index, INT64(offset))
            weights = load_vectors(element_pointer(builder, strip.panel, builder.mul(k, INT64(block.columns))))
            previous, sums = sums, []
            for row in range(block.rows):  # load x row by row: the values of all rows at once would not fit the registers
                value, row_sums = load_splat(row, k), previous[row * block.vectors : (row + 1) * block.vectors]
                sums += [multiply_add(builder, value, factor, total) for factor, total in zip(weights, row_sums, strict=True)]
        loop.next_carried = [address, *sums]
    return loop.carried[1:]


def _emit_store(
    builder: ir.IRBuilder,
    block: RegisterBlock,
    y_row_stride: int,
    relus: list[Callable[[ir.Value], ir.Value]],
    sums: list[ir.Value],
    y: ir.Value,
) -> None:
    """Emit ReLU of a register block's sums, and their stores to the block's address y."""
    for index, value in enumerate(sums):
        row, vector = divmod(index, block.vectors)
        offset = INT64(row * y_row_stride + vector * block.vector_width)
        builder.store(relus[vector](value), element_pointer(builder, y, offset), align=4)
