"""Winograd's transforms, one pass each: maps to tiles, and products of tiles to maps; tiles are (tile, place in it, c)."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir

from ._codegen import FLOAT, KernelBuilder, TileArgs, relu_of
from ._jit import compile_kernel
from ._winograd_matrices import Filtering


@cache
def gather(down: Filtering, across: Filtering, vector: int) -> int:
    """Compile the transform of the maps at `source` into tiles at `target`, filtered so along each axis."""

    def write(module: ir.Module) -> ir.Function:
        to = KernelBuilder(module, (len(down.inputs), len(across.inputs)), (len(down.outputs), len(across.outputs)), vector)
        source, target, outside = map(to.address, ("source", "target", "outside"))
        with to.tiles() as tile:
            to.locate_pixels(tile, source, outside)
            with to.channels() as channel:
                values = _grid(to.read_pixels(channel), across)
                for place, value in enumerate(to.sandwich(down.inputs, across.inputs, values)):
                    to.write(value, target, to.at.add(to.tile_offset(tile, place), channel))
        to.at.ret_void()
        return to.function

    return compile_kernel(TileArgs, write)


@cache
def scatter(down: Filtering, across: Filtering, vector: int) -> int:
    """Compile the transform of the tiles at `source` into maps at `target`, with bias and ReLU of the first channels."""
    count = len(down.inputs) * len(across.inputs)

    def write(module: ir.Module) -> ir.Function:
        outputs = len(down.outputs), len(across.outputs)
        to = KernelBuilder(module, outputs, outputs, vector)
        source, target, bias = map(to.address, ("source", "target", "bias"))
        spare = to.at.alloca(FLOAT, size=to.work["channels"])
        with to.tiles() as tile:
            to.locate_pixels(tile, target, spare)
            with to.channels() as channel:
                values = [to.read(source, to.at.add(to.tile_offset(tile, place), channel)) for place in range(count)]
                shift, relu = to.read(bias, channel), relu_of(to.at, to.work["relu"], channel, to.vector)
                for place, value in enumerate(to.sandwich(down.outputs, across.outputs, _grid(values, across))):
                    to.write(relu(to.at.fadd(value, shift)), to.pixel(place), channel)
        to.at.ret_void()
        return to.function

    return compile_kernel(TileArgs, write)


def _grid(values: list[Any], across: Filtering) -> list[list[Any]]:
    """Return the values of a tile row by row."""
    width = len(across.inputs)
    return [values[start : start + width] for start in range(0, len(values), width)]
