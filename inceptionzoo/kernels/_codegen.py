"""Emit the LLVM IR of kernels that work on tiles of feature maps, several channels at a time.

Feature maps lie in NHWC memory: the channels of a pixel are contiguous, and pixels are `pixel_stride` floats apart. A tile is a
rectangle of pixels: the window of a pool or a convolution, or a Winograd tile. The tiles of an image form a grid, and tiles are
numbered by image, row and column. A kernel loops over tiles, and for each tile over vectors of channels; within that inner loop
all pixels of the tile are held in registers. Pixels of a tile that lie outside the map get the address of another pixel, for
example one of zeros, so that loads and stores need no branch.

A tile buffer holds tiles outside a map. Its tiles are `tile_pitch` floats apart, the elements of a tile `element_pitch`, and
the channels of an element are contiguous.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from math import prod

from llvmlite import ir
from torch import Tensor

from ._jit import INT32, INT64, POINTER, declare_body, emit_loop
from ._winograd_matrices import Matrix

FLOAT = ir.FloatType()
FAST_MATH = ("contract", "nsz")  # allow fused multiply-adds; other fast-math flags would change the results for inf and nan
Pair = tuple[int, int]  # (vertical, horizontal)


class TileArgs(ctypes.Structure):
    """Arguments of a kernel that works on tiles. Addresses are in bytes, strides in floats, other lengths in pixels."""

    NAMES = (
        "source", "target",  # addresses of the input and of the output; one may be a tile buffer
        "bias",  # address of a float per channel
        "padding_pixel",  # address of the channels to read for any pixel outside the map
        "positions",  # address of a byte per tile and channel, which takes the positions of maxima
        "scale",  # address of a float per tile of an image
        "height", "width", "pad_top", "pad_left",  # of the map
        "grid_rows", "grid_columns",  # tiles of an image
        "start", "stop",  # range of tiles to process
        "channels", "pixel_stride", "tile_pitch", "element_pitch",
        "relu_channels",  # ReLU applies to this number of leading channels
    )  # fmt: skip
    _fields_ = [(name, ctypes.c_int64) for name in NAMES]  # ctypes wants a list

    @classmethod
    def for_input(
        cls,
        x: Tensor,
        padding: Sequence[int],
        padding_pixel: Tensor,
        *,
        grid: Sequence[int],
        tiles: tuple[int, int],
        target: int,
        tile_pitch: int,
    ) -> TileArgs:
        """Return the arguments of a kernel that reads tiles of x, (n, c, h, w), and writes to the tile buffer at `target`.

        `grid` is (rows, columns) of the tiles of an image, `tiles` the range (start, stop) to process.
        """
        _, channels, height, width = x.shape
        return cls(
            source=x.data_ptr(), target=target, padding_pixel=padding_pixel.data_ptr(), height=height, width=width,
            pad_top=padding[0], pad_left=padding[1], grid_rows=grid[0], grid_columns=grid[1], start=tiles[0], stop=tiles[1],
            channels=channels, pixel_stride=x.stride(3), tile_pitch=tile_pitch, element_pitch=channels,
        )  # fmt: skip

    @classmethod
    def for_output(
        cls,
        y: Tensor,
        bias: Tensor,
        *,
        source: int,
        grid: Sequence[int],
        tiles: tuple[int, int],
        tile_pitch: int,
        element_pitch: int | None = None,
        relu_channels: int = 0,
    ) -> TileArgs:
        """Return the arguments of a kernel that reads the tile buffer at `source` and writes tiles of y, (n, c, h, w).

        `grid` and `tiles` are those of `for_input`. `element_pitch` is by default the number of channels.
        """
        _, channels, height, width = y.shape
        return cls(
            source=source, target=y.data_ptr(), bias=bias.data_ptr(), height=height, width=width, grid_rows=grid[0],
            grid_columns=grid[1], start=tiles[0], stop=tiles[1], channels=channels, pixel_stride=y.stride(3),
            tile_pitch=tile_pitch, element_pitch=element_pitch or channels, relu_channels=relu_channels,
        )  # fmt: skip


class KernelBuilder:
    """Builder of the body of a kernel with the arguments `TileArgs`.

    Tiles are `tile_size` pixels high and wide; neighbouring tiles start `tile_step` pixels apart.
    """

    def __init__(self, module: ir.Module, tile_size: Pair, tile_step: Pair, vector_width: int) -> None:
        self.tile_size, self.tile_step = tile_size, tile_step
        self.function, self.builder, self.args = declare_body(module, TileArgs)
        self.vector_type = ir.VectorType(FLOAT, vector_width)
        self.pixels = prod(tile_size)
        self._steps = [  # down and across, from the first pixel of a tile to each of its pixels
            ir.Constant(ir.VectorType(INT32, self.pixels), list(steps))
            for steps in zip(*product(*map(range, tile_size)), strict=True)
        ]
        self._pixel_offsets = self._emit_pixel_offsets()
        self._pixel_addresses = self.builder.alloca(self._pixel_offsets.type)

    def pointer(self, name: str) -> ir.Value:
        """Emit the conversion of an argument to a pointer."""
        return self.builder.inttoptr(self.args[name], POINTER)

    def load(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.load(element_pointer(self.builder, pointer, offset), typ=self.vector_type, align=4)

    def store(self, value: ir.Value, pointer: ir.Value, offset: ir.Value) -> None:
        self.builder.store(value, element_pointer(self.builder, pointer, offset), align=4)

    @contextmanager
    def tile_loop(self) -> Iterator[ir.Value]:
        """Emit a loop over the tiles of this thread; yield the number of the tile."""
        _, start, stop = self.function.args
        with emit_loop(self.builder, start, stop) as loop:
            yield loop.index

    @contextmanager
    def channel_loop(self) -> Iterator[ir.Value]:
        """Emit a loop over vectors of channels; yield the first channel of the vector."""
        with emit_loop(self.builder, INT64(0), self.args["channels"], self.vector_type.count) as loop:
            yield loop.index

    def element_offset(self, tile: ir.Value, element: int) -> ir.Value:
        """Emit the offset of an element of a tile in the tile buffer, which begins with tile `start` of the arguments."""
        builder, args = self.builder, self.args
        tile = builder.sub(tile, args["start"])
        return builder.add(builder.mul(tile, args["tile_pitch"]), builder.mul(INT64(element), args["element_pitch"]))

    def _emit_pixel_offsets(self) -> ir.Value:
        """Emit the distances in bytes from the first pixel of a tile to each of its pixels."""
        builder = self.builder
        down, across = (builder.zext(steps, ir.VectorType(INT64, self.pixels)) for steps in self._steps)
        width, pixel_stride = (splat(builder, self.args[name], self.pixels) for name in ("width", "pixel_stride"))
        floats = builder.mul(builder.add(builder.mul(down, width), across), pixel_stride)
        return builder.mul(floats, splat(builder, INT64(4), self.pixels))

    def locate_pixels(self, tile: ir.Value, base: ir.Value, outside: ir.Value) -> None:
        """Emit the computation of the addresses of a tile's pixels, of all at once: of one after the other it takes long.

        `base` is the address of the feature maps, `outside` the address to use for pixels outside the map.
        """
        builder, args, step = self.builder, self.args, self.tile_step
        row = builder.sdiv(tile, args["grid_columns"])
        first_row = builder.mul(builder.sdiv(row, args["grid_rows"]), args["height"])  # rows of pixels of the images before
        top = builder.sub(builder.mul(builder.srem(row, args["grid_rows"]), INT64(step[0])), args["pad_top"])
        left = builder.sub(builder.mul(builder.srem(tile, args["grid_columns"]), INT64(step[1])), args["pad_left"])
        first = builder.add(builder.mul(builder.add(first_row, top), args["width"]), left)
        first_pixel = element_pointer(builder, base, builder.mul(first, args["pixel_stride"]))
        first_address, outside_address = (
            splat(builder, builder.ptrtoint(pointer, INT64), self.pixels) for pointer in (first_pixel, outside)
        )
        inside = builder.and_(self._emit_inside(0, top, args["height"]), self._emit_inside(1, left, args["width"]))
        addresses = builder.select(inside, builder.add(first_address, self._pixel_offsets), outside_address)
        builder.store(addresses, self._pixel_addresses, align=8)

    def _emit_inside(self, axis: int, start: ir.Value, side: ir.Value) -> ir.Value:
        """Emit whether each pixel of a tile that begins at `start` lies inside a map with this side."""
        start, side = (splat(self.builder, self.builder.trunc(value, INT32), self.pixels) for value in (start, side))
        position = self.builder.add(start, self._steps[axis])
        return self.builder.icmp_unsigned("<", position, side)  # unsigned: a negative position is outside, too

    def pixel_pointer(self, pixel: int) -> ir.Value:
        """Emit the load of a pixel's address, as stored by the last `locate_pixels`."""
        slot = self.builder.gep(self._pixel_addresses, [INT64(pixel)], source_etype=POINTER)
        return self.builder.load(slot, typ=POINTER)

    def load_pixels(self, channel: ir.Value) -> list[ir.Value]:
        """Emit loads of all pixels of the tile of the last `locate_pixels`; return a vector of channels per pixel."""
        return [self.load(self.pixel_pointer(pixel), channel) for pixel in range(self.pixels)]

    def separable_transform(self, down: Matrix, across: Matrix, values: list[ir.Value]) -> list[ir.Value]:
        """Emit `down @ values @ across.T` for a tile of values; values and result are listed row by row."""
        width = len(across[0])
        rows = [values[start : start + width] for start in range(0, len(values), width)]
        rows = [[self._linear_combination(coefficients, row) for coefficients in across] for row in rows]
        columns = [
            [self._linear_combination(coefficients, column) for coefficients in down] for column in zip(*rows, strict=True)
        ]
        return [value for row in zip(*columns, strict=True) for value in row]

    def _linear_combination(self, coefficients: Sequence[float], values: Sequence[ir.Value]) -> ir.Value:
        terms = [(factor, value) for factor, value in zip(coefficients, values, strict=True) if factor]
        terms.sort(key=lambda term: (term[0] != 1, term[0] != -1))  # +1 and -1 first: each later term is a multiply-add
        multiply = partial(self.builder.fmul, flags=FAST_MATH)
        (factor, total), *rest = terms
        total = total if factor == 1 else multiply(total, self._constant(factor))
        for factor, value in rest:
            if factor == -1:
                total = self.builder.fsub(total, value, flags=FAST_MATH)
            else:
                value = value if factor == 1 else multiply(value, self._constant(factor))
                total = self.builder.fadd(total, value, flags=FAST_MATH)
        return total

    def _constant(self, value: float) -> ir.Constant:
        return ir.Constant(self.vector_type, [value] * self.vector_type.count)


def element_pointer(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value) -> ir.Value:
    """Emit the address of the float with this index in the array at `pointer`."""
    return builder.gep(pointer, [index], source_etype=FLOAT)


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
