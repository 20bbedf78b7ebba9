"""The sum of two maps, followed by an optional ReLU: the end of a residual block."""

from __future__ import annotations

from llvmlite import ir
from torch import Tensor

from ._codegen import FAST_MATH, relu_emitter
from ._jit import EmitBody, choose_vector_width, kernel
from ._kernel import KernelLaunch
from ._tile_args import TileArgs
from ._tile_kernels import TileBuilder


@kernel(TileArgs)
def add_kernel(vector_width: int) -> EmitBody:
    """Return what emits the kernel that replaces `target` by `relu(target + source)`. A tile is one pixel."""

    def emit_body(module: ir.Module) -> ir.Function:
        kernel = TileBuilder(module, (1, 1), (1, 1), vector_width)
        builder, source, target = kernel.builder, kernel.pointer("source"), kernel.pointer("target")
        with kernel.item_loop() as pixel:
            first = builder.mul(pixel, kernel.args["pixel_stride"])
            with kernel.channel_loop() as channel:
                offset = builder.add(kernel.element_offset(pixel, 0), channel)
                addend = kernel.load(source, builder.add(first, channel))
                total = builder.fadd(kernel.load(target, offset), addend, flags=FAST_MATH)
                relu = relu_emitter(builder, kernel.args["relu_channels"], channel, kernel.vector_type)
                kernel.store(relu(total), target, offset)
        builder.ret_void()
        return kernel.function

    return emit_body


def add_launch(x: Tensor, y: Tensor, *, relu: bool) -> KernelLaunch:
    """Return the launch that adds x to y, in place, then applies ReLU if `relu`. Both are (n, c, h, w), of `row_strides`."""
    count, channels, height, width = x.shape
    args = TileArgs(
        source=x.data_ptr(), target=y.data_ptr(), stop=count * height * width, channels=channels, pixel_stride=x.stride(3),
        tile_pitch=y.stride(3), relu_channels=channels * relu,
    )  # fmt: skip
    return KernelLaunch(add_kernel(choose_vector_width(channels)), args)
