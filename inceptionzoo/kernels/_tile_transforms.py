"""Kernels between feature maps and tile buffers: gather reads tiles of pixels from a map, scatter writes them to a map.

Each transforms the tiles on the way, by one matrix per axis. Tile buffers are (tile, element of the tile, channel).
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from ._codegen import FAST_MATH, FLOAT, relu_emitter
from ._jit import EmitBody, kernel
from ._tile_args import Pair, TileArgs
from ._tile_kernels import TileBuilder
from ._winograd_matrices import Matrix


@kernel(TileArgs)
def gather_kernel(down: Matrix, across: Matrix, tile_step: Pair, vector_width: int) -> EmitBody:
    """Return what emits the kernel that writes `down @ tile @ across.T` of each input tile to a tile buffer.

    `down` is (rows of a result, rows of a tile), `across` the same for columns. Tiles start `tile_step` pixels apart.
    """

    def emit_body(module: ir.Module) -> ir.Function:
        kernel = TileBuilder(module, (len(down[0]), len(across[0])), tile_step, vector_width)
        source, target, padding_pixel = map(kernel.pointer, ("source", "target", "padding_pixel"))
        with kernel.item_loop() as tile:
            kernel.locate_pixels(tile, source, padding_pixel)
            with kernel.channel_loop() as channel:
                elements = _separable_transform(kernel.builder, down, across, kernel.load_pixels(channel))
                for element, value in enumerate(elements):
                    kernel.store(value, target, kernel.builder.add(kernel.element_offset(tile, element), channel))
        kernel.builder.ret_void()
        return kernel.function

    return emit_body


@kernel(TileArgs)
def scatter_kernel(down: Matrix, across: Matrix, vector_width: int) -> EmitBody:
    """Return what emits the kernel that writes `relu(down @ tile @ across.T + bias)` of each tile to a map.

    `down` is (rows of an output tile, rows of a tile), `across` the same for columns. Output tiles do not overlap.
    """
    elements = len(down[0]) * len(across[0])

    def emit_body(module: ir.Module) -> ir.Function:
        output_tile = len(down), len(across)
        kernel = TileBuilder(module, output_tile, output_tile, vector_width)
        builder, args = kernel.builder, kernel.args
        source, target, bias = map(kernel.pointer, ("source", "target", "bias"))
        discarded = builder.alloca(FLOAT, size=args["channels"])  # takes the pixels of a tile that lie outside the map
        with kernel.item_loop() as tile:
            kernel.locate_pixels(tile, target, discarded)
            with kernel.channel_loop() as channel:
                offsets = (builder.add(kernel.element_offset(tile, element), channel) for element in range(elements))
                values = [kernel.load(source, offset) for offset in offsets]
                bias_vector = kernel.load(bias, channel)
                relu = relu_emitter(builder, args["relu_channels"], channel, kernel.vector_type)
                for pixel, value in enumerate(_separable_transform(builder, down, across, values)):
                    kernel.store(relu(builder.fadd(value, bias_vector)), kernel.pixel_pointer(pixel), channel)
        builder.ret_void()
        return kernel.function

    return emit_body


def _separable_transform(builder: ir.IRBuilder, down: Matrix, across: Matrix, values: Sequence[ir.Value]) -> list[ir.Value]:
    """Emit `down @ values @ across.T` for a tile of vectors; values and result are listed row by row."""
    width = len(across[0])
    rows = [values[start : start + width] for start in range(0, len(values), width)]
    rows = [[_linear_combination(builder, coefficients, row) for coefficients in across] for row in rows]
    columns = [
        [_linear_combination(builder, coefficients, column) for coefficients in down] for column in zip(*rows, strict=True)
    ]
    return [value for row in zip(*columns, strict=True) for value in row]


def _linear_combination(builder: ir.IRBuilder, coefficients: Sequence[float], values: Sequence[ir.Value]) -> ir.Value:
    terms = [(factor, value) for factor, value in zip(coefficients, values, strict=True) if factor]
    terms.sort(key=lambda term: (term[0] != 1, term[0] != -1))  # +1 and -1 first: each later term is a multiply-add
    (factor, total), *rest = terms
    total = total if factor == 1 else _multiply(builder, factor, total)
    for factor, value in rest:
        if factor == -1:
            total = builder.fsub(total, value, flags=FAST_MATH)
        else:
            value = value if factor == 1 else _multiply(builder, factor, value)
            total = builder.fadd(total, value, flags=FAST_MATH)
    return total


def _multiply(builder: ir.IRBuilder, factor: float, value: ir.Value) -> ir.Value:
    return builder.fmul(value, ir.Constant(value.type, [factor] * value.type.count), flags=FAST_MATH)
