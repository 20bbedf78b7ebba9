"""A pass over maps, written in LLVM's intermediate language: loops, pixels, vectors of channels.

Maps are (n, h, w, c) in memory. A pass goes over tiles, rectangles of pixels at even steps; all pixels of a tile, for a
vector of channels, are in registers at once. What lies beyond the border is read from, or written to, another place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any

from llvmlite import ir

from ._jit import INT, LONG, POINTER, VOID, load_argument, loop
from ._winograd_matrices import Matrix

FLOAT = ir.FloatType()
FLAGS = ("contract", "nsz")  # fused multiply-adds, and nothing that changes what becomes of inf and nan
ARGUMENTS = (
    "source", "target", "bias", "outside", "scale",  # addresses
    "height", "width", "top", "left",  # of the map, and how far the first tile lies outside, in pixels
    "rows", "columns", "first", "last",  # of tiles; first and last of all images' tiles together
    "channels", "stride", "pitch", "relu",  # stride: from pixel to pixel; pitch: from tile to tile; relu: of so many channels
)  # fmt: skip
Pair = tuple[int, int]


class TileArgs(ctypes.Structure):
    """What a pass is called with."""

    _fields_ = [(name, ctypes.c_int64) for name in ARGUMENTS]  # ctypes wants a list


class KernelBuilder:
    """Writes one pass: a function of the work, of its first tile and its last, for tiles of `size` pixels at even steps."""

    def __init__(self, module: ir.Module, size: Pair, step: Pair, vector: int) -> None:
        self.size, self.step = size, step
        self.function = ir.Function(module, ir.FunctionType(VOID, [POINTER, LONG, LONG]), "pass")
        self.at = ir.IRBuilder(self.function.append_basic_block())
        self.vector = ir.VectorType(FLOAT, vector)
        self.work = {entry: load_argument(self.at, self.function.args[0], TileArgs, entry) for entry in ARGUMENTS}
        self.table = self.at.alloca(POINTER, size=size[0] * size[1])

    def address(self, name: str) -> Any:
        return self.at.inttoptr(self.work[name], POINTER)

    def read_pixels(self, channel: Any) -> list[Any]:
        """Return the values of the pixels of the tile that was found last."""
        return [self.read(self.pixel(place), channel) for place in range(self.size[0] * self.size[1])]

    def splat(self, value: float) -> Any:
        return ir.Constant(self.vector, [value] * self.vector.count)

    def read(self, pointer: Any, offset: Any) -> Any:
        return self.at.load(self.at.gep(pointer, [offset], source_etype=FLOAT), typ=self.vector, align=4)

    def write(self, value: Any, pointer: Any, offset: Any) -> None:
        self.at.store(value, self.at.gep(pointer, [offset], source_etype=FLOAT), align=4)

    @contextmanager
    def tiles(self) -> Iterator[Any]:
        """Write a loop over the tiles."""
        with loop(self.at, *self.function.args[1:]) as turn:
            yield turn.index

    @contextmanager
    def channels(self) -> Iterator[Any]:
        """Write a loop over vectors of channels."""
        with loop(self.at, LONG(0), self.work["channels"], self.vector.count) as turn:
            yield turn.index

    def tile_offset(self, tile: Any, place: int) -> Any:
        """Return the offset of a place of a tile, among the tiles from the first on."""
        tile = self.at.sub(tile, self.work["first"])
        return self.at.add(self.at.mul(tile, self.work["pitch"]), self.at.mul(LONG(place), self.work["channels"]))

    def locate_pixels(self, tile: Any, base: Any, outside: Any) -> None:
        """Find where the pixels of a tile are, in the maps at `base`."""
        at, work, step = self.at, self.work, self.step
        row = at.sdiv(tile, work["columns"])
        image = at.mul(at.sdiv(row, work["rows"]), work["height"])
        top = at.sub(at.mul(at.srem(row, work["rows"]), LONG(step[0])), work["top"])
        left = at.sub(at.mul(at.srem(tile, work["columns"]), LONG(step[1])), work["left"])
        for place, (down, across) in enumerate(product(*map(range, self.size))):
            y, x = at.add(top, LONG(down)), at.add(left, LONG(across))
            inside = at.and_(at.icmp_unsigned("<", y, work["height"]), at.icmp_unsigned("<", x, work["width"]))
            offset = at.mul(at.add(at.mul(at.add(image, y), work["width"]), x), work["stride"])
            pixel = at.select(inside, at.gep(base, [offset], source_etype=FLOAT), outside)
            at.store(pixel, self._slot(place))

    def pixel(self, place: int) -> Any:
        """Return the address of a pixel of the tile that was found last."""
        return self.at.load(self._slot(place), typ=POINTER)

    def _slot(self, place: int) -> Any:
        return self.at.gep(self.table, [LONG(place)], source_etype=POINTER)

    def sandwich(self, left: Matrix, right: Matrix, values: list[list[Any]]) -> list[Any]:
        """Return left @ values @ right.T, row by row."""
        rows = [[self._sum(row, line) for row in right] for line in values]
        columns = [[self._sum(row, line) for row in left] for line in zip(*rows, strict=True)]
        return [value for row in zip(*columns, strict=True) for value in row]

    def _sum(self, factors: Sequence[float], values: Sequence[Any]) -> Any:
        terms = [(factor, value) for factor, value in zip(factors, values, strict=True) if factor]
        terms.sort(key=lambda term: (term[0] != 1, term[0] != -1))  # plain sums first, so that each product can be fused
        (factor, total), *rest = terms
        times = partial(self.at.fmul, flags=FLAGS)
        total = total if factor == 1 else times(total, self.splat(factor))
        for factor, value in rest:
            if factor == -1:
                total = self.at.fsub(total, value, flags=FLAGS)
            else:
                value = value if factor == 1 else times(value, self.splat(factor))
                total = self.at.fadd(total, value, flags=FLAGS)
        return total


def broadcast(at: ir.IRBuilder, value: Any, count: int) -> Any:
    """Write a vector that holds a value `count` times."""
    nothing, same = (
        ir.Constant(ir.VectorType(value.type, count), ir.Undefined),
        ir.Constant(ir.VectorType(INT, count), [0] * count),
    )
    return at.shuffle_vector(at.insert_element(nothing, value, INT(0)), nothing, same)


def relu_of(at: ir.IRBuilder, relu: Any, channel: Any, vector: ir.VectorType) -> Callable[[Any], Any]:
    """Write what ReLU needs for the channels from `channel` on, the first `relu` of all; return what writes it of a value.

    nan stays nan.
    """
    left = broadcast(at, at.sub(relu, channel), vector.count)
    chosen = at.icmp_signed("<", ir.Constant(left.type, list(range(vector.count))), left)
    zero, least = (ir.Constant(vector, [low] * vector.count) for low in (0.0, float("-inf")))
    low = at.select(chosen, zero, least)
    return lambda value: at.select(at.fcmp_ordered("<", value, low), low, value)
