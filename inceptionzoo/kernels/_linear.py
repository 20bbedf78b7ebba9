"""Linear layers of small batches: y = x @ weight.T + bias, with torch's own weight, (outputs, depth), which is not packed.

With few rows of x, reading the weight takes most of the time, and a library that packs it first reads and writes it once more.
The kernel multiplies a block of rows of the weight with all rows of x. The vectors of the sums run along the depth; their
elements are added at the end.

A thread goes through its blocks in groups, and through the depth in chunks: the chunk of x stays in its core's cache while all
blocks of the group use it. While it multiplies a block, it fetches the next.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from llvmlite import ir
from torch import Tensor, nn

from ._codegen import FLOAT, VectorBuilder, element_pointer, minimum, multiply_add, prefetch
from ._jit import INT64, EmitBody, emit_loop, kernel, launch, max_vector_width

MAX_ROWS = 16  # with more, the products take longer than reading the weight
MAX_BLOCK = 8  # rows of the weight
STEP = 16  # floats along the depth, a cache line; the depth must be a multiple of it
CHUNK = 1024  # floats along the depth
GROUP = 16  # blocks


class LinearArgs(ctypes.Structure):
    """Arguments of the kernel. All matrices are contiguous."""

    NAMES = (
        "x", "weight", "bias", "y",  # addresses
        "depth", "outputs",
        "start", "stop",  # range of blocks to compute
    )  # fmt: skip
    _fields_ = [(name, ctypes.c_int64) for name in NAMES]  # ctypes wants a list


def row_tiles(rows: int) -> list[range]:
    """Return the rows of x in about equal tiles of up to four; the sums of a tile and a block stay in registers."""
    count = -(-rows // 4)
    return [range(rows * tile // count, rows * (tile + 1) // count) for tile in range(count)]


def block_size(rows: int, vector_width: int) -> int:
    """Return the number of rows of the weight in a block: those whose sums fit 16 registers, or 32 with AVX-512."""
    sums = 24 if vector_width == 16 else 12
    return min(sums // max(map(len, row_tiles(rows))), MAX_BLOCK)


@kernel(LinearArgs)
def linear_kernel(rows: int, vector_width: int) -> EmitBody:
    """Return what emits the kernel for x of this number of rows."""
    return lambda module: _LinearBuilder(module, rows, vector_width).emit_body()


class _LinearBuilder(VectorBuilder):
    """Builder of the body of `linear_kernel`."""

    def __init__(self, module: ir.Module, rows: int, vector_width: int) -> None:
        super().__init__(module, LinearArgs, vector_width)
        self.rows, self.block = rows, block_size(rows, vector_width)
        self.x, self.weight, self.bias, self.y = map(self.pointer, ("x", "weight", "bias", "y"))
        self.sums = self.builder.alloca(self.vector_type, size=INT64(GROUP * self.block * rows))
        add = ir.FunctionType(FLOAT, [FLOAT, self.vector_type])
        self.add_elements = ir.Function(module, add, f"llvm.vector.reduce.fadd.v{vector_width}f32")

    def emit_body(self) -> ir.Function:
        builder, depth, (_, start, stop) = self.builder, self.args["depth"], self.function.args
        with emit_loop(builder, start, stop, GROUP) as group:
            first, count = group.index, minimum(builder, INT64(GROUP), builder.sub(stop, group.index))
            with emit_loop(builder, INT64(0), builder.mul(count, INT64(self.block * self.rows))) as slot:
                builder.store(self.constant(0.0), self._sum(slot.index), align=4)
            with (
                emit_loop(builder, INT64(0), depth, CHUNK) as chunk,
                emit_loop(builder, INT64(0), count) as block,
            ):
                end = minimum(builder, builder.add(chunk.index, INT64(CHUNK)), depth)
                self._emit_products(first, block.index, chunk.index, end)
            with emit_loop(builder, INT64(0), count) as block:
                self._emit_outputs(first, block.index)
        builder.ret_void()
        return self.function

    def _sum(self, slot: ir.Value) -> ir.Value:
        """Emit the address of a vector of sums. They are in the order of the group's blocks, outputs and rows of x."""
        return self.builder.gep(self.sums, [slot], source_etype=self.vector_type)

    def _slot(self, block: ir.Value, output: int, row: int) -> ir.Value:
        """Emit the address of the sums of an output of a block of the group, for a row of x."""
        first = self.builder.mul(block, INT64(self.block * self.rows))
        return self._sum(self.builder.add(first, INT64(output * self.rows + row)))

    def _first_output(self, number: ir.Value) -> ir.Value:
        """Emit the first output of a block; the last block is moved back to overlap the one before it."""
        last = self.builder.sub(self.args["outputs"], INT64(self.block))
        return minimum(self.builder, self.builder.mul(number, INT64(self.block)), last)

    def _block_rows(self, number: ir.Value) -> list[ir.Value]:
        """Emit the addresses of the rows of the weight in a block."""
        builder, depth, first = self.builder, self.args["depth"], self._first_output(number)
        outputs = (builder.add(first, INT64(output)) for output in range(self.block))
        return [element_pointer(builder, self.weight, builder.mul(output, depth)) for output in outputs]

    def _emit_products(self, first: ir.Value, block: ir.Value, start: ir.Value, stop: ir.Value) -> None:
        """Emit the addition of a block's products from `start` to `stop` of the depth to the sums."""
        builder, number, depth = self.builder, self.builder.add(first, block), self.args["depth"]
        weights, others = self._block_rows(number), self._block_rows(builder.add(number, INT64(1)))
        for tile in row_tiles(self.rows):
            slots = [self._slot(block, output, row) for output in range(self.block) for row in tile]
            inputs = [element_pointer(builder, self.x, builder.mul(depth, INT64(row))) for row in tile]
            sums = [builder.load(slot, typ=self.vector_type, align=4) for slot in slots]
            with emit_loop(builder, start, stop, STEP, sums) as loop:
                if tile.start == 0 and self.rows > 1:  # the processor foresees the rows of a single product
                    for pointer in others:
                        prefetch(builder, element_pointer(builder, pointer, loop.index))
                for offset in range(0, STEP, self.vector_type.count):
                    loop.next_carried = self._emit_step(
                        weights, inputs, builder.add(loop.index, INT64(offset)), loop.next_carried
                    )
            for total, slot in zip(loop.carried, slots, strict=True):
                builder.store(total, slot, align=4)

    def _emit_step(
        self, weights: list[ir.Value], inputs: list[ir.Value], k: ir.Value, sums: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """Emit the addition of the products of the vectors at k to the sums; return the sums."""
        values = [self.load(pointer, k) for pointer in inputs]
        pairs = ((self.load(pointer, k), value) for pointer in weights for value in values)
        return [multiply_add(self.builder, *pair, total) for pair, total in zip(pairs, sums, strict=True)]

    def _emit_outputs(self, first: ir.Value, block: ir.Value) -> None:
        """Emit the sum of the elements of each vector of a block's sums and the bias, and its store."""
        builder, start = self.builder, self._first_output(self.builder.add(first, block))
        for output in range(self.block):
            column = builder.add(start, INT64(output))
            bias = builder.load(element_pointer(builder, self.bias, column), typ=FLOAT)
            for row in range(self.rows):
                total = builder.load(self._slot(block, output, row), typ=self.vector_type, align=4)
                value = builder.call(self.add_elements, [bias, total], fastmath=("reassoc",))
                offset = builder.add(builder.mul(self.args["outputs"], INT64(row)), column)
                builder.store(value, element_pointer(builder, self.y, offset), align=4)


def supports(layer: nn.Linear, rows: int) -> bool:
    """Return whether `LinearOp` can replace the layer for x of this number of rows."""
    return (
        rows <= MAX_ROWS and layer.in_features % STEP == 0 and layer.out_features >= MAX_BLOCK and layer.weight.is_contiguous()
    )


class LinearOp:
    """`torch.nn.functional.linear` of x, (n, depth) -> (n, outputs), for n = `rows`; see `supports`."""

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        self.weight, width = weight.detach(), max_vector_width()
        self.bias = self.weight.new_zeros(len(weight)) if bias is None else bias.detach().contiguous()
        self.blocks, self.kernel = -(-len(weight) // block_size(rows, width)), linear_kernel(rows, width)

    def __call__(self, x: Tensor) -> Tensor:
        x, (outputs, depth) = x.contiguous(), self.weight.shape
        y = torch.empty((len(x), outputs), dtype=torch.float32, device="cpu")
        launch(self.kernel, LinearArgs(
            x=x.data_ptr(), weight=self.weight.data_ptr(), bias=self.bias.data_ptr(), y=y.data_ptr(), depth=depth,
            outputs=outputs, stop=self.blocks,
        ))  # fmt: skip
        return y
