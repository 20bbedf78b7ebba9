"""Batched matrix multiplication (GEMM): y = x @ weight + bias for each matrix of a batch, then ReLU of the leading columns.

For each matrix of the batch, x is (rows, depth), weight is (depth, columns) and y is (rows, columns); BLAS calls these sizes m,
k and n. All matrices share the bias, (columns), and may share one weight. Row strides and batch strides are in floats. The
weight is packed in advance into panels as wide as a register block, so that the kernel reads it in sequence.

The rows can be divided into groups, of which one after the other is computed: then x is read from memory once, and the weight
once for each group. With a group for each thread, a thread computes the rows that it wrote before. `_gemm_kernel` emits the
kernel.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ._gemm_kernel import CACHE_LINE, GemmArgs, RegisterBlock, gemm_kernel, step_bytes
from ._jit import max_vector_width
from ._kernel import KernelLaunch

CORE_CACHE_BYTES = 512 << 10  # of the second level, of which some processors have more
GROUP_BYTES = 256 << 10  # of the rows of x in a group
LONG_STRIP = 32  # register blocks


@cache
def choose_block(rows: int, columns: int) -> RegisterBlock:
    """Return the register block for y of this size; y needs at least 8 columns.

    The block has nearly as many rows as fit the registers, or an equal share of the rows for the fewest blocks: the number with
    which the overlapping blocks compute the fewest rows twice. Its columns do not depend on `rows`, so that a packed weight
    serves every number of rows.
    """
    max_width = max_vector_width()
    vector_width = max_width if columns >= max_width else 8
    vectors = 2 if columns >= 2 * vector_width else 1
    max_rows = min(rows, 14 if max_width == 16 else 6)  # 32 or 16 registers hold 2 vectors a row, 2 of the weight, 1 of x
    equal_share = -(-rows // -(-rows // max_rows))
    candidates = *range(max_rows, max_rows * 2 // 3, -1), equal_share
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


def choose_fetches(rows: int, block: RegisterBlock) -> int:
    """Return how many cache lines each step of a kernel fetches, so that a strip of these rows fetches the panel of the next.

    A long strip fetches nothing: it reads its panel from memory once, and from the cache many times.
    """
    blocks = -(-rows // block.rows)
    return -(-step_bytes(block) // (CACHE_LINE * blocks)) if blocks <= LONG_STRIP else 0


class Gemm:
    """A GEMM with a weight from `pack_weight`, of `columns` columns, for at least `rows` rows and fixed row strides."""

    def __init__(self, weight: Tensor, columns: int, rows: int, x_row_stride: int, y_row_stride: int) -> None:
        self.weight, self.columns, self.block = weight, columns, choose_block(rows, columns)
        self.kernel = gemm_kernel(self.block, x_row_stride, y_row_stride, choose_fetches(rows, self.block))

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
