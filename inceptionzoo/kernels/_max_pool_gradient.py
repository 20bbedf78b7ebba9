"""The kernels of max pooling in training: the maxima with their positions, and the gradient of the input.

A position is the number of a maximum's tap in its window, row by row, in one byte.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import product

from llvmlite import ir

from ._codegen import FLOAT, VectorBuilder, element_pointer, maximum, splat
from ._jit import INT8, INT32, INT64, POINTER, EmitBody, kernel
from ._tile_args import Pair, TileArgs
from ._tile_kernels import TileBuilder


@kernel(TileArgs)
def max_position_kernel(kernel_size: Pair, stride: Pair, vector_width: int) -> EmitBody:
    """Return what emits the kernel that writes the maximum of each window and its position.

    As in torch, the first of equal values in the map counts, and nan is larger than all numbers.
    """

    def emit_body(module: ir.Module) -> ir.Function:
        kernel = TileBuilder(module, kernel_size, stride, vector_width)
        builder = kernel.builder
        source, target, positions, padding_pixel = map(kernel.pointer, ("source", "target", "positions", "padding_pixel"))
        with kernel.item_loop() as tile:
            start = kernel.locate_pixels(tile, source, padding_pixel)
            top, left = (maximum(builder, builder.neg(side), INT64(0)) for side in start)  # pixels of padding
            first = builder.trunc(builder.add(builder.mul(top, INT64(kernel_size[1])), left), INT32)  # tap in the map
            with kernel.channel_loop() as channel:
                largest, *others = kernel.load_pixels(channel)
                position = splat(builder, first, vector_width)
                for tap, value in enumerate(others, 1):
                    larger = builder.fcmp_ordered(">", value, largest)
                    takes = builder.or_(larger, builder.fcmp_unordered("uno", value, value))
                    largest = builder.select(takes, value, largest)
                    position = builder.select(takes, _integers(tap, vector_width), position)
                kernel.store(largest, target, builder.add(kernel.element_offset(tile, 0), channel))
                offset = builder.add(builder.mul(tile, kernel.args["channels"]), channel)
                byte = builder.trunc(position, ir.VectorType(INT8, vector_width))
                builder.store(byte, builder.gep(positions, [offset], source_etype=INT8), align=1)
        builder.ret_void()
        return kernel.function

    return emit_body


def _integers(value: int, count: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(INT32, count), [value] * count)


class MaxPoolGradientArgs(ctypes.Structure):
    """Arguments of the kernel of the gradient. Addresses are in bytes, strides in floats, other lengths in pixels."""

    NAMES = (
        "gradient", "positions", "target",  # addresses of the output's gradient, the positions, and the input's gradient
        "zeros",  # address of a zero for each channel
        "height", "width",  # of the input
        "rows", "columns",  # of the output
        "block_rows", "block_columns",  # blocks of an image
        "channels", "gradient_stride",
        "start", "stop",  # range of blocks
    )  # fmt: skip
    _fields_ = [(name, ctypes.c_int64) for name in NAMES]  # ctypes wants a list


@kernel(MaxPoolGradientArgs)
def max_pool_gradient_kernel(kernel_size: Pair, stride: Pair, padding: Pair, vector_width: int) -> EmitBody:
    """Return what emits the kernel that writes the gradient of the input of a max pool.

    The padded input is divided into blocks as large as the stride. Those windows that start in a block, or before it and reach
    into it, are the only ones that hold its pixels.
    """
    return lambda module: _GradientBuilder(module, kernel_size, stride, padding, vector_width).emit_body()


class _GradientBuilder(VectorBuilder):
    """Builder of the body of `max_pool_gradient_kernel`."""

    def __init__(self, module: ir.Module, kernel_size: Pair, stride: Pair, padding: Pair, vector_width: int) -> None:
        super().__init__(module, MaxPoolGradientArgs, vector_width)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        reach = [range(-(-taps // step)) for taps, step in zip(kernel_size, stride, strict=True)]
        self.windows, self.pixels = list(product(*reach)), list(product(*map(range, stride)))
        slots = self.windows, self.windows, self.pixels
        self.gradients, self.positions, self.targets = (self.builder.alloca(POINTER, size=INT64(len(each))) for each in slots)
        self.discarded = self.builder.alloca(FLOAT, size=self.args["channels"])  # takes the pixels of a block that are padding

    def emit_body(self) -> ir.Function:
        builder = self.builder
        with self.item_loop() as block:
            row, column = (emit(block, self.args["block_columns"]) for emit in (builder.sdiv, builder.srem))
            image, row = (emit(row, self.args["block_rows"]) for emit in (builder.sdiv, builder.srem))
            self._locate_windows(image, row, column)
            self._locate_pixels(image, row, column)
            with self.channel_loop() as channel:
                self._emit_channels(channel)
        builder.ret_void()
        return self.function

    def _locate_windows(self, image: ir.Value, row: ir.Value, column: ir.Value) -> None:
        """Emit the addresses of the gradients and positions of the windows that hold pixels of a block."""
        builder = self.builder
        for slot, (down, across) in enumerate(self.windows):
            y, x = builder.sub(row, INT64(down)), builder.sub(column, INT64(across))
            inside, number = self._locate(image, y, x, "rows", "columns")
            number = builder.select(inside, number, INT64(0))
            pointer = element_pointer(builder, self.pointer("gradient"), builder.mul(number, self.args["gradient_stride"]))
            self._put(self.gradients, slot, builder.select(inside, pointer, self.pointer("zeros")))
            offset = builder.mul(number, self.args["channels"])
            self._put(self.positions, slot, builder.gep(self.pointer("positions"), [offset], source_etype=INT8))

    def _locate_pixels(self, image: ir.Value, row: ir.Value, column: ir.Value) -> None:
        """Emit the addresses of the pixels of a block."""
        builder = self.builder
        for slot, shifts in enumerate(self.pixels):
            axes = zip((row, column), self.stride, shifts, self.padding, strict=True)
            y, x = (builder.add(builder.mul(index, INT64(step)), INT64(shift - side)) for index, step, shift, side in axes)
            inside, number = self._locate(image, y, x, "height", "width")
            pointer = element_pointer(builder, self.pointer("target"), builder.mul(number, self.args["channels"]))
            self._put(self.targets, slot, builder.select(inside, pointer, self.discarded))

    def _emit_channels(self, channel: ir.Value) -> None:
        """Emit the gradients of a block's pixels, for a vector of channels."""
        builder, width, zero = self.builder, self.vector_type.count, self.constant(0.0)
        gradients, positions = [], []
        for slot in range(len(self.windows)):
            gradients.append(self.load(self._get(self.gradients, slot), channel))
            pointer = builder.gep(self._get(self.positions, slot), [channel], source_etype=INT8)
            positions.append(
                builder.zext(builder.load(pointer, typ=ir.VectorType(INT8, width), align=1), ir.VectorType(INT32, width))
            )
        for slot, shifts in enumerate(self.pixels):
            total = zero
            for window, tap in self._taps(shifts):
                is_maximum = builder.icmp_signed("==", positions[window], _integers(tap, width))
                total = builder.fadd(total, builder.select(is_maximum, gradients[window], zero))
            self.store(total, self._get(self.targets, slot), channel)

    def _taps(self, shifts: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        """Yield the slot of each window that holds a pixel of the block, and the pixel's tap there."""
        for slot, starts in enumerate(self.windows):
            down, across = (shift + step * start for shift, step, start in zip(shifts, self.stride, starts, strict=True))
            if down < self.kernel_size[0] and across < self.kernel_size[1]:
                yield slot, down * self.kernel_size[1] + across

    def _locate(self, image: ir.Value, y: ir.Value, x: ir.Value, height: str, width: str) -> tuple[ir.Value, ir.Value]:
        """Emit whether a pixel lies in its image, and its number in the map."""
        builder, args = self.builder, self.args
        inside = builder.and_(  # unsigned comparisons: a negative coordinate is outside, too
            builder.icmp_unsigned("<", y, args[height]), builder.icmp_unsigned("<", x, args[width])
        )
        return inside, builder.add(builder.mul(builder.add(builder.mul(image, args[height]), y), args[width]), x)

    def _put(self, slots: ir.Value, slot: int, pointer: ir.Value) -> None:
        self.builder.store(pointer, self.builder.gep(slots, [INT64(slot)], source_etype=POINTER))

    def _get(self, slots: ir.Value, slot: int) -> ir.Value:
        return self.builder.load(self.builder.gep(slots, [INT64(slot)], source_etype=POINTER), typ=POINTER)
