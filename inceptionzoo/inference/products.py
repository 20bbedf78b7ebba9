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

from .machine import INT, LONG, POINTER, VOID, add_team, addresses, field, run, vector
from .writer import FLOAT

NAMES = (
    "x", "weight", "bias", "y",  # addresses
    "rows", "depth", "columns", "x_group", "y_group",  # sizes; how far a group's values are from the last one's
    "first", "last", "relu",  # blocks
)  # fmt: skip
UNROLLED = 4


class Work(ctypes.Structure):
    """What a product is called with."""

    _fields_ = [(name, ctypes.c_int64) for name in NAMES]  # ctypes wants a list


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
    widest = vector(16)
    width, registers = (widest if columns >= widest else 8), 2 * widest
    vectors = 2 if columns >= 2 * width else 1
    most = min(rows, 14 if registers == 32 else 6)  # with two vectors each, and those of the weights
    sizes = range(most, most * 2 // 3, -1)
    return Block(min(sizes, key=lambda size: -(-rows // size) * size), vectors, width)


def blocked(weight: Tensor, columns: int) -> Tensor:
    """Return weights (groups, depth, columns) as products read them: (groups, blocks, depth, columns of a block)."""
    size = block_for(1, columns).columns
    starts = [min(start, columns - size) for start in range(0, columns, size)]
    return torch.stack([weight[:, :, start : start + size] for start in starts], 1).contiguous()


class Product:
    """Products of `rows` rows or more, x_stride and y_stride floats apart, with weights of `blocked`."""

    def __init__(self, weight: Tensor, columns: int, rows: int, x_stride: int, y_stride: int) -> None:
        self.weight, self.columns, self.block = weight, columns, block_for(rows, columns)
        self.address = product(self.block, x_stride, y_stride)

    def __call__(self, x: int, y: int, bias: int, rows: int, groups: tuple[int, int], *, relu: bool) -> None:
        """Fill y; x, y and bias are addresses, `groups` how far a group's values of x and of y are from the last one's."""
        count, panels, depth, _ = self.weight.shape
        work = Work(
            x=x, y=y, bias=bias, weight=self.weight.data_ptr(), rows=rows, depth=depth, columns=self.columns,
            x_group=groups[0], y_group=groups[1], last=count * panels * -(-rows // self.block.rows), relu=relu,
        )  # fmt: skip
        run(self.address, work)


@cache
def product(block: Block, x_stride: int, y_stride: int) -> int:
    """Compile the product for rows so far apart and return its address."""
    module = ir.Module()
    body = ir.Function(module, ir.FunctionType(VOID, [POINTER, LONG, LONG]), "blocks")
    at = ir.IRBuilder(body.append_basic_block())
    work = {name: field(at, body.args[0], Work, name) for name in NAMES}
    down, across = _blocks(at, work["rows"], block.rows), _blocks(at, work["columns"], block.columns)
    head, inner, done = (body.append_basic_block() for _ in range(3))
    before = at.block
    at.branch(head)
    at.position_at_end(head)
    item = at.phi(LONG)
    item.add_incoming(body.args[1], before)
    at.cbranch(at.icmp_signed("<", item, body.args[2]), inner, done)
    at.position_at_end(inner)
    panel, row = at.sdiv(item, down), _last(at, at.mul(at.srem(item, down), LONG(block.rows)), work["rows"], block.rows)
    group, column = at.sdiv(panel, across), at.srem(panel, across)
    column = _last(at, at.mul(column, LONG(block.columns)), work["columns"], block.columns)
    x = _at(at, at.inttoptr(work["x"], POINTER), at.add(at.mul(group, work["x_group"]), at.mul(row, LONG(x_stride))))
    weight = _at(at, at.inttoptr(work["weight"], POINTER), at.mul(panel, at.mul(work["depth"], LONG(block.columns))))
    offset = at.add(at.add(at.mul(group, work["y_group"]), at.mul(row, LONG(y_stride))), column)
    y, bias = _at(at, at.inttoptr(work["y"], POINTER), offset), _at(at, at.inttoptr(work["bias"], POINTER), column)
    _write_block(module, body, at, block, x, weight, bias, y, work, x_stride, y_stride)
    item.add_incoming(at.add(item, LONG(1)), at.block)
    at.branch(head)
    at.position_at_end(done)
    at.ret_void()
    add_team(module, "product", body, Work)
    return addresses(module, ("product",))["product"]


def _at(at: ir.IRBuilder, pointer: Any, offset: Any) -> Any:
    return at.gep(pointer, [offset], source_etype=FLOAT)


def _blocks(at: ir.IRBuilder, count: Any, size: int) -> Any:
    return at.sdiv(at.add(count, LONG(size - 1)), LONG(size))


def _last(at: ir.IRBuilder, start: Any, count: Any, size: int) -> Any:
    """Return the start of a block, moved back where it would go beyond the count."""
    most = at.sub(count, LONG(size))
    return at.select(at.icmp_signed("<", start, most), start, most)


def _write_block(
    module: ir.Module, body: Any, at: ir.IRBuilder, block: Block, x: Any, weight: Any, bias: Any, y: Any, work: Any,
    x_stride: int, y_stride: int,
) -> None:  # fmt: skip
    kind = ir.VectorType(FLOAT, block.width)
    fused = ir.Function(module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{block.width}f32")
    nothing = ir.Constant(kind, ir.Undefined)
    same = ir.Constant(ir.VectorType(INT, block.width), [0] * block.width)
    shifts = [at.load(_at(at, bias, LONG(place * block.width)), typ=kind, align=4) for place in range(block.vectors)]
    head, inner, done = (body.append_basic_block() for _ in range(3))
    before = at.block
    at.branch(head)
    at.position_at_end(head)
    depth = at.phi(LONG)
    depth.add_incoming(LONG(0), before)
    sums = [[at.phi(kind) for _ in shifts] for _ in range(block.rows)]
    for line in sums:
        for value, shift in zip(line, shifts, strict=True):
            value.add_incoming(shift, before)
    at.cbranch(at.icmp_signed("<", depth, work["depth"]), inner, done)
    at.position_at_end(inner)
    new = [list(line) for line in sums]
    for more in range(UNROLLED):
        here = at.add(depth, LONG(more))
        panel = _at(at, weight, at.mul(here, LONG(block.columns)))
        factors = [at.load(_at(at, panel, LONG(place * block.width)), typ=kind, align=4) for place in range(block.vectors)]
        values = _at(at, x, here)
        for row, line in enumerate(new):
            value = at.load(_at(at, values, LONG(row * x_stride)), typ=FLOAT)
            spread = at.shuffle_vector(at.insert_element(nothing, value, INT(0)), nothing, same)
            new[row] = [at.call(fused, [spread, factor, total]) for factor, total in zip(factors, line, strict=True)]
    depth.add_incoming(at.add(depth, LONG(UNROLLED)), at.block)
    for line, values in zip(sums, new, strict=True):
        for value, total in zip(line, values, strict=True):
            value.add_incoming(total, at.block)
    at.branch(head)
    at.position_at_end(done)
    low = at.select(
        at.icmp_signed("!=", work["relu"], LONG(0)),
        ir.Constant(kind, [0.0] * block.width), ir.Constant(kind, [float("-inf")] * block.width),
    )  # fmt: skip
    for row, line in enumerate(sums):
        for place, value in enumerate(line):
            value = at.select(at.fcmp_ordered("<", value, low), low, value)  # nan stays nan
            at.store(value, _at(at, y, LONG(row * y_stride + place * block.width)), align=4)
