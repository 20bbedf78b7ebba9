"""Batched matrix multiplication (GEMM): y = x @ weight + bias for each matrix of a batch, then ReLU of the leading columns.

For each matrix of the batch, x is (rows, depth), weight is (depth, columns) and y is (rows, columns); BLAS calls these sizes m,
k and n. All matrices share the bias, (columns), and may share one weight. Row strides and batch strides are in floats. The
weight is packed in advance into panels as wide as a register block, so that the kernel reads it in sequence.

The kernel computes y one register block at a time: the sums of the block stay in registers while the microkernel goes through
the depth once. If rows or columns are not a multiple of the block, the last block is moved back to overlap the one before it.

The rows can be divided into groups, of which one after the other is computed: then x is read from memory once, and the weight
once for each group. With a group for each thread, a thread computes the rows that it wrote before.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import NamedTuple

import torch
from llvmlite import ir
from torch import Tensor

from ._codegen import FLOAT, element_pointer, relu_emitter, splat
from ._jit import INT64, POINTER, EmitBody, declare_body, emit_loop, kernel, max_vector_width
from ._kernel import KernelLaunch

DEPTH_UNROLL = 4  # the depth must be a multiple of it
CORE_CACHE_BYTES = 512 << 10  # of the second level, of which some processors have more
GROUP_BYTES = 256 << 10  # of the rows of x in a group


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


@cache
def choose_block(rows: int, columns: int) -> RegisterBlock:
    """Return the register block for y of this size; y needs at least 8 columns.

    The block has nearly as many rows as fit the registers: the number of rows with which the overlapping blocks compute the
    fewest rows twice. Its columns do not depend on `rows`, so that a packed weight serves every number of rows.
    """
    max_width = max_vector_width()
    vector_width = max_width if columns >= max_width else 8
    vectors = 2 if columns >= 2 * vector_width else 1
    max_rows = min(rows, 14 if max_width == 16 else 6)  # 32 or 16 registers hold 2 vectors a row, 2 of the weight, 1 of x
    candidates = range(max_rows, max_rows * 2 // 3, -1)
    return RegisterBlock(min(candidates, key=lambda count: -(-rows // count) * count), vectors, vector_width)


def pack_weight(weight: Tensor) -> Tensor:
    """Return the weight (batch, depth, columns) as panels: (batch, panels, depth, columns of a register block)."""
    columns = weight.shape[2]
    size = choose_block(1, columns).columns
    starts = [min(start, columns - size) for start in range(0, columns, size)]
    return torch.stack([weight[:, :, start : start + size] for start in starts], 1).contiguous()


def choose_groups(rows: int, x_bytes: int, weight: Tensor, block: RegisterBlock) -> int:
    """Return the number of groups of rows for which a product moves fewer bytes than with one group.

    x of `x_bytes` is read for every panel of the weight, unless a group of it stays in the cache of a core.
    """
    threads = torch.get_num_threads()
    groups = threads * -(-x_bytes // (threads * GROUP_BYTES))
    if rows // groups < block.rows or x_bytes <= CORE_CACHE_BYTES:
        return 1
    weight_reads = threads if weight.nbytes <= CORE_CACHE_BYTES // 2 else groups
    return groups if x_bytes + weight_reads * weight.nbytes < weight.shape[1] * x_bytes + weight.nbytes else 1


class Gemm:
    """A GEMM with a weight from `pack_weight`, of `columns` columns, for at least `rows` rows and fixed row strides."""

    def __init__(self, weight: Tensor, columns: int, rows: int, x_row_stride: int, y_row_stride: int) -> None:
        self.weight, self.columns, self.block = weight, columns, choose_block(rows, columns)
        self.kernel = gemm_kernel(self.block, x_row_stride, y_row_stride)

    def make_launch(
        self,
        x: int,
        y: int,
        bias: int,
        rows: int,
        batch_strides: tuple[int, int] = (0, 0),
        *,
        sharing: int = 1,
        relu_columns: int = 0,
        groups: int = 1,
    ) -> KernelLaunch:
        """Return the launch that computes y. x, y and bias are addresses; `batch_strides` are those of x and of y.

        `sharing` is the number of matrices that share a weight of one matrix. Each of the `groups` needs the rows of a block.
        """
        weights, panels, depth, width = self.weight.shape
        assert sharing == 1 or weights == 1
        assert groups == 1 or rows // groups >= self.block.rows
        most_rows = -(-rows // groups)
        row_blocks = -(-most_rows // self.block.rows)
        args = GemmArgs(
            x=x, y=y, bias=bias, weight=self.weight.data_ptr(), rows=rows, depth=depth, columns=self.columns,
            x_batch_stride=batch_strides[0], y_batch_stride=batch_strides[1],
            weight_batch_stride=panels * depth * width if sharing == 1 else 0,
            stop=groups * sharing * weights * panels * row_blocks, groups=groups, panels=sharing * weights * panels,
            relu_columns=relu_columns,
        )  # fmt: skip
        return KernelLaunch(self.kernel, args)


@kernel(GemmArgs)
def gemm_kernel(block: RegisterBlock, x_row_stride: int, y_row_stride: int) -> EmitBody:
    """Return what emits the GEMM kernel."""

    def emit_body(module: ir.Module) -> ir.Function:
        body, builder, args = declare_body(module, GemmArgs)
        _, start, stop = body.args
        x, weight, bias, y = (builder.inttoptr(args[name], POINTER) for name in ("x", "weight", "bias", "y"))
        rows, groups = args["rows"], args["groups"]
        row_blocks = _block_count(builder, _divide_up(builder, rows, groups), block.rows)  # of the largest group
        panels = _block_count(builder, args["columns"], block.columns)
        with emit_loop(builder, start, stop) as loop:  # down the rows of a group first: consecutive blocks use the same panel
            panel, row_block = builder.sdiv(loop.index, row_blocks), builder.srem(loop.index, row_blocks)
            group, panel = builder.sdiv(panel, args["panels"]), builder.srem(panel, args["panels"])
            first_row, next_row = (
                builder.sdiv(builder.mul(rows, index), groups) for index in (group, builder.add(group, INT64(1)))
            )
            row = builder.add(first_row, _block_start(builder, row_block, builder.sub(next_row, first_row), block.rows))
            matrix, panel = builder.sdiv(panel, panels), builder.srem(panel, panels)
            column = _block_start(builder, panel, args["columns"], block.columns)
            x_offset = builder.add(builder.mul(matrix, args["x_batch_stride"]), builder.mul(row, INT64(x_row_stride)))
            x_block = element_pointer(builder, x, x_offset)
            panel_offset = builder.mul(panel, builder.mul(args["depth"], INT64(block.columns)))
            weight_offset = builder.add(builder.mul(matrix, args["weight_batch_stride"]), panel_offset)
            weight_panel = element_pointer(builder, weight, weight_offset)
            bias_block = element_pointer(builder, bias, column)
            sums = _emit_microkernel(builder, block, x_row_stride, args["depth"], x_block, weight_panel, bias_block)
            y_offset = builder.add(builder.mul(matrix, args["y_batch_stride"]), builder.mul(row, INT64(y_row_stride)))
            y_block = element_pointer(builder, y, builder.add(y_offset, column))
            _emit_store(builder, block, y_row_stride, args["relu_columns"], column, sums, y_block)
        builder.ret_void()
        return body

    return emit_body


def _block_count(builder: ir.IRBuilder, length: ir.Value, size: int) -> ir.Value:
    """Emit the number of blocks of `size` that cover `length`."""
    return _divide_up(builder, length, INT64(size))


def _divide_up(builder: ir.IRBuilder, value: ir.Value, divisor: ir.Value) -> ir.Value:
    """Emit value / divisor, rounded up."""
    return builder.sdiv(builder.add(value, builder.sub(divisor, INT64(1))), divisor)


def _block_start(builder: ir.IRBuilder, index: ir.Value, length: ir.Value, size: int) -> ir.Value:
    """Emit the start of block `index`; the last block is moved back to end at `length`."""
    start, last_start = builder.mul(index, INT64(size)), builder.sub(length, INT64(size))
    return builder.select(builder.icmp_signed("<", start, last_start), start, last_start)


def _emit_microkernel(
    builder: ir.IRBuilder,
    block: RegisterBlock,
    x_row_stride: int,
    depth: ir.Value,
    x: ir.Value,
    weight: ir.Value,
    bias: ir.Value,
) -> list[ir.Value]:
    """Emit the loop over the depth for one register block; return its vectors of sums, row by row.

    x, weight and bias are the addresses of the block's first row, its panel and its first column.
    """
    vector_type = ir.VectorType(FLOAT, block.vector_width)
    fma = ir.Function(builder.module, ir.FunctionType(vector_type, [vector_type] * 3), f"llvm.fma.v{block.vector_width}f32")

    def load_vectors(pointer: ir.Value) -> list[ir.Value]:
        pointers = (element_pointer(builder, pointer, INT64(index * block.vector_width)) for index in range(block.vectors))
        return [builder.load(pointer, typ=vector_type, align=4) for pointer in pointers]

    def load_splat(row: int, k: ir.Value) -> ir.Value:
        pointer = element_pointer(builder, element_pointer(builder, x, k), INT64(row * x_row_stride))
        return splat(builder, builder.load(pointer, typ=FLOAT), block.vector_width)

    with emit_loop(builder, INT64(0), depth, DEPTH_UNROLL, load_vectors(bias) * block.rows) as loop:
        sums = loop.carried
        for offset in range(DEPTH_UNROLL):
            k = builder.add(loop.index, INT64(offset))
            weights = load_vectors(element_pointer(builder, weight, builder.mul(k, INT64(block.columns))))
            previous, sums = sums, []
            for row in range(block.rows):  # load x row by row: the values of all rows at once would not fit the registers
                value, row_sums = load_splat(row, k), previous[row * block.vectors : (row + 1) * block.vectors]
                sums += [builder.call(fma, [value, factor, total]) for factor, total in zip(weights, row_sums, strict=True)]
        loop.next_carried = sums
    return loop.carried


def _emit_store(
    builder: ir.IRBuilder,
    block: RegisterBlock,
    y_row_stride: int,
    relu_columns: ir.Value,
    first_column: ir.Value,
    sums: list[ir.Value],
    y: ir.Value,
) -> None:
    """Emit ReLU of a register block's sums, for columns below `relu_columns`, and their stores to the block's address y."""
    columns = (builder.add(first_column, INT64(index * block.vector_width)) for index in range(block.vectors))
    relus = [relu_emitter(builder, relu_columns, column, sums[0].type) for column in columns]
    for index, value in enumerate(sums):
        row, vector = divmod(index, block.vectors)
        offset = INT64(row * y_row_stride + vector * block.vector_width)
        builder.store(relus[vector](value), element_pointer(builder, y, offset), align=4)
