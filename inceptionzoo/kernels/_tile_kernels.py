"""Emit the LLVM IR of kernels that work on tiles of feature maps, several channels at a time: loops, addresses, loads, stores.

Feature maps lie in NHWC memory: the channels of a pixel are contiguous, and pixels are `pixel_stride` floats apart. A tile is a
rectangle of pixels: the window of a pool or a convolution, or a Winograd tile. The tiles of an image form a grid, and tiles are
numbered by image, row and column. A kernel loops over tiles, and for each tile over vectors of channels; within that inner loop
all pixels of the tile are held in registers. Pixels of a tile that lie outside the map get the address of another pixel, for
example one of zeros, so that loads and stores need no branch.

A tile buffer holds tiles outside a map. Its tiles are `tile_pitch` floats apart, the elements of a tile `element_pitch`, and
the channels of an element are contiguous.
"""

from __future__ import annotations

from itertools import product
from math import prod

from llvmlite import ir

from ._codegen import VectorBuilder, element_pointer, splat
from ._jit import INT32, INT64, POINTER
from ._tile_args import Pair, TileArgs


class TileBuilder(VectorBuilder):
    """Builder of the body of a kernel with the arguments `TileArgs`.

    Tiles are `tile_size` pixels high and wide; neighbouring tiles start `tile_step` pixels apart.
    """

    def __init__(self, module: ir.Module, tile_size: Pair, tile_step: Pair, vector_width: int) -> None:
        super().__init__(module, TileArgs, vector_width)
        self.tile_size, self.tile_step = tile_size, tile_step
        self.pixels = prod(tile_size)
        self._steps = [  # down and across, from the first pixel of a tile to each of its pixels
            ir.Constant(ir.VectorType(INT32, self.pixels), list(steps))
            for steps in zip(*product(*map(range, tile_size)), strict=True)
        ]
        self._pixel_offsets = self._emit_pixel_offsets()
        self._pixel_addresses = self.builder.alloca(self._pixel_offsets.type)

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

    def locate_pixels(self, tile: ir.Value, base: ir.Value, outside: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Emit the computation of the addresses of a tile's pixels; return the row and the column of its first pixel.

        The addresses are computed with vectors: one pixel at a time, it took long.

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
        return top, left

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
