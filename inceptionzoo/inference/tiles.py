"""Winograd's transforms, one pass each: maps to tiles, and products of tiles to maps; tiles are (tile, place in it, c)."""

from __future__ import annotations

from functools import cache

from llvmlite import ir

from .machine import LONG, POINTER, add_team, addresses
from .toom_cook import Filtering
from .writer import FLOAT, Work, Writer


@cache
def gather(down: Filtering, across: Filtering, vector: int) -> int:
    """Compile the transform of maps into tiles that are filtered so along each axis; return its address."""
    module = ir.Module()
    add_team(module, "gather", _gather(module, down, across, vector), Work)
    return addresses(module, ("gather",))["gather"]


@cache
def scatter(down: Filtering, across: Filtering, vector: int) -> int:
    """Compile the transform of products of tiles into maps; return its address."""
    module = ir.Module()
    add_team(module, "scatter", _scatter(module, down, across, vector), Work)
    return addresses(module, ("scatter",))["scatter"]


def _gather(module: ir.Module, down: Filtering, across: Filtering, vector: int) -> ir.Function:
    """Write the transform of the maps at `source` into the tiles at `target`."""
    to = Writer(module, "gather_tiles", vector)
    size, step = (len(down.inputs), len(across.inputs)), (len(down.outputs), len(across.outputs))
    count = size[0] * size[1]
    table = to.at.alloca(POINTER, size=count)
    source, target, outside = map(to.address, ("source", "target", "outside"))
    with to.tiles() as tile:
        to.pixels(tile, size, step, source, outside, table)
        with to.channels() as channel:
            values = [to.read(to.at.load(to.slot(table, place), typ=POINTER), channel) for place in range(count)]
            grid = [values[start : start + size[1]] for start in range(0, count, size[1])]
            for place, value in enumerate(to.sandwich(down.inputs, across.inputs, grid)):
                to.write(value, target, to.at.add(to.place(tile, place), channel))
    to.at.ret_void()
    return to.function


def _scatter(module: ir.Module, down: Filtering, across: Filtering, vector: int) -> ir.Function:
    """Write the transform of the tiles at `source` into the maps at `target`, with bias and, where `relu` is not 0, ReLU."""
    to = Writer(module, "scatter_tiles", vector)
    size, step = (len(down.inputs), len(across.inputs)), (len(down.outputs), len(across.outputs))
    count = size[0] * size[1]
    table = to.at.alloca(POINTER, size=step[0] * step[1])
    source, target, bias = map(to.address, ("source", "target", "bias"))
    spare = to.at.alloca(FLOAT, size=to.work["channels"])
    rectified = to.at.icmp_signed("!=", to.work["relu"], LONG(0))
    low = to.at.select(rectified, to.splat(0.0), to.splat(float("-inf")))
    with to.tiles() as tile:
        to.pixels(tile, step, step, target, spare, table)
        with to.channels() as channel:
            values = [to.read(source, to.at.add(to.place(tile, place), channel)) for place in range(count)]
            grid = [values[start : start + size[1]] for start in range(0, count, size[1])]
            shift = to.read(bias, channel)
            for place, value in enumerate(to.sandwich(down.outputs, across.outputs, grid)):
                value = to.at.fadd(value, shift)
                value = to.at.select(to.at.fcmp_ordered("<", value, low), low, value)  # nan stays nan
                to.write(value, to.at.load(to.slot(table, place), typ=POINTER), channel)
    to.at.ret_void()
    return to.function
