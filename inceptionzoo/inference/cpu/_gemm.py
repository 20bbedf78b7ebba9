"""Products of matrices, compiled for the strides of their rows: y = x @ w + bias, then ReLU or not, for a number of groups.

A block of rows and columns of y stays in registers while it goes through the depth once. Blocks at the end overlap those
before them, so that every block is whole.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

import torch
from llvmlite import ir
from torch import Tensor

from ._codegen import FLOAT, broadcast, relu_of
from ._jit import LONG, POINTER, VOID, compile_kernel, load_argument, loop, vector_width
from ._kernel import KernelLaunch

ARGUMENTS = (
    "x", "weight", "bias", "y",  # addresses
    "rows", "depth", "columns", "x_group", "y_group",  # sizes; how far a group's values are from the last one's
    "first", "last", "relu",  # blocks; columns that are rectified
)  # fmt: skip
UNROLLED = 4


class GemmArgs(ctypes.Structure):
    """What a product is called with."""

    _fields_ = [(name, ctypes.c_int64) for name in ARGUMENTS]  # ctypes wants a list


class Block(NamedTuple):
    """What is computed at once: rows, vectors of columns, floats a vector."""

    rows: int
    vectors: int
    width: int

    @property
    def columns(self) -> int:
        return self.vectors * self.width


@cache
def block_for(rows: int, columns: int) -> Block:
    """Return the block that fills the registers and wastes the least on a product of so many rows and columns."""
    widest = vector_width(16)
    width, registers = (widest if columns >= widest else 8), 2 * widest
    vectors = 2 if columns >= 2 * width else 1
    most = min(rows, 14 if registers == 32 else 6)  # with two vectors each, and those of the weights
    sizes = range(most, most * 2 // 3, -1)
    return Block(min(sizes, key=lambda size: -(-rows // size) * size), vectors, width)


def pack_weight(weight: Tensor, columns: int) -> Tensor:
    """Return weights (groups, depth, columns) as products read them: (groups, blocks, depth, columns of a block)."""
    size = block_for(1, columns).columns
    starts = [min(start, columns - size) for start in range(0, columns, size)]
    return torch.stack([weight[:, :, start : start + size] for start in starts], 1).contiguous()


class Gemm:
    """Products of `rows` rows or more, x_stride and y_stride floats apart, with weights of `blocked`."""

    def __init__(self, weight: Tensor, columns: int, rows: int, x_stride: int, y_stride: int) -> None:
        self.weight, self.columns, self.block = weight, columns, block_for(rows, columns)
        self.address = gemm_kernel(self.block, x_stride, y_stride)

    def step(self, x: int, y: int, bias: int, rows: int, groups: tuple[int, int], *, relu: int = 0) -> KernelLaunch:
        """Return the pass that fills y. x, y, bias: addresses; `groups`: how far a group's values are from the last one's."""
        count, panels, depth, _ = self.weight.shape
        work = GemmArgs(
            x=x, y=y, bias=bias, weight=self.weight.data_ptr(), rows=rows, depth=depth, columns=self.columns,
            x_group=groups[0], y_group=groups[1], last=count * panels * -(-rows // self.block.rows), relu=relu,
        )  # fmt: skip
        return KernelLaunch(self.address, work)


@cache
def gemm_kernel(block: Block, x_stride: int, y_stride: int) -> int:
    """Compile the product for rows so far apart and return its address."""

    def write(module: ir.Module) -> ir.Function:
        body = ir.Function(module, ir.FunctionType(VOID, [POINTER, LONG, LONG]), "blocks")
        at = ir.IRBuilder(body.append_basic_block())
        work = {name: load_argument(at, body.args[0], GemmArgs, name) for name in ARGUMENTS}
        x, weight, bias, y = (at.inttoptr(work[name], POINTER) for name in ("x", "weight", "bias", "y"))
        down, across = _count(at, work["rows"], block.rows), _count(at, work["columns"], block.columns)
        with loop(at, *body.args[1:]) as turn:  # rows first, then columns, then groups: weights are read once
            panel, row = at.sdiv(turn.index, down), _start(at, at.srem(turn.index, down), work["rows"], block.rows)
            group, column = at.sdiv(panel, across), _start(at, at.srem(panel, across), work["columns"], block.columns)
            here = _at(at, x, at.add(at.mul(group, work["x_group"]), at.mul(row, LONG(x_stride))))
            factors = _at(at, weight, at.mul(panel, at.mul(work["depth"], LONG(block.columns))))
            sums = _sums(at, block, x_stride, work["depth"], here, factors, _at(at, bias, column))
            there = at.add(at.add(at.mul(group, work["y_group"]), at.mul(row, LONG(y_stride))), column)
            _store(at, block, y_stride, (work["relu"], column), sums, _at(at, y, there))
        at.ret_void()
        return body

    return compile_kernel(GemmArgs, write)


def _at(at: ir.IRBuilder, pointer: Any, offset: Any) -> Any:
    return at.gep(pointer, [offset], source_etype=FLOAT)


def _count(at: ir.IRBuilder, length: Any, size: int) -> Any:
    """Return how many blocks of a size cover a length."""
    return at.sdiv(at.add(length, LONG(size - 1)), LONG(size))


def _start(at: ir.IRBuilder, place: Any, length: Any, size: int) -> Any:
    """Return where a block starts, moved back where it would go beyond the length."""
    start, most = at.mul(place, LONG(size)), at.sub(length, LONG(size))
    return at.select(at.icmp_signed("<", start, most), start, most)


def _sums(at: ir.IRBuilder, block: Block, x_stride: int, depth: Any, x: Any, weight: Any, bias: Any) -> list[Any]:
    """Return the block's sums over the depth, row by row, each begun with the bias."""
    kind = ir.VectorType(FLOAT, block.width)
    fused = ir.Function(at.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{block.width}f32")

    def vectors(pointer: Any) -> list[Any]:
        places = (_at(at, pointer, LONG(place * block.width)) for place in range(block.vectors))
        return [at.load(place, typ=kind, align=4) for place in places]

    def row_value(row: int, place: Any) -> Any:
        return broadcast(at, at.load(_at(at, _at(at, x, place), LONG(row * x_stride)), typ=FLOAT), block.width)

    with loop(at, LONG(0), depth, UNROLLED, vectors(bias) * block.rows) as turn:
        sums = turn.carried
        for more in range(UNROLLED):
            place = at.add(turn.index, LONG(more))
            factors = vectors(_at(at, weight, at.mul(place, LONG(block.columns))))
            before, sums = sums, []
            for row in range(block.rows):  # one at a time: all of a row's values together would not fit the registers
                value, line = row_value(row, place), before[row * block.vectors : (row + 1) * block.vectors]
                sums += [at.call(fused, [value, factor, total]) for factor, total in zip(factors, line, strict=True)]
        turn.handed_on = sums
    return turn.carried


def _store(at: ir.IRBuilder, block: Block, y_stride: int, relu: tuple[Any, Any], sums: list[Any], y: Any) -> None:
    """Write the sums, rectified in the first columns: relu is how many of all, and which the block begins with."""
    most, first = relu
    starts = (at.add(first, LONG(vector * block.width)) for vector in range(block.vectors))
    rectify = [relu_of(at, most, start, sums[0].type) for start in starts]
    for place, value in enumerate(sums):
        row, column = divmod(place, block.vectors)
        at.store(rectify[column](value), _at(at, y, LONG(row * y_stride + column * block.width)), align=4)
