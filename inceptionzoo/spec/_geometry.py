"""Sizes of windows and their padding, in one, two or three spatial dimensions. No torch.

A size is an int, the same for every dimension, or a tuple of one int per dimension: (length,), (height, width) or (depth,
height, width). The depth of a video is time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from ..errors import SpecError

Size = int | tuple[int, ...]
Padding = Literal["half", "same", "valid"]  # explained in `Conv`
AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


class Window(NamedTuple):
    """The window of a convolution or a pool: one number per dimension in each field.

    `extent` are the pixels that the dilated kernel spans. `padding` is the fixed padding on each side.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    extent: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def is_centred(self) -> bool:
        """Whether the padding "same" is "half": the stride is 1 and the kernel is odd."""
        return is_one(self.stride) and all(side % 2 for side in self.kernel)


def make_window(kernel: Size, stride: Size, dilation: Size, padding: Padding, dims: int) -> Window:
    """Return the window for maps of `dims` spatial dimensions.

    Raises:
        SpecError: a size is a tuple with another number of values.
    """
    kernels, strides, dilations = (
        as_tuple(size, dims, name) for name, size in (("kernel", kernel), ("stride", stride), ("dilation", dilation))
    )
    extent = dilated_extent(kernels, dilations)
    pixels = tuple((side - 1) // 2 for side in extent) if padding == "half" else (0,) * dims
    return Window(kernels, strides, dilations, extent, pixels)


def as_tuple(size: Size, dims: int, name: str = "size") -> tuple[int, ...]:
    """Return one number per dimension.

    Raises:
        SpecError: `size` is a tuple with another number of values. The message calls it `name`.
    """
    if isinstance(size, int):
        return (size,) * dims
    if len(size) != dims:
        needed = f"needs {dims}: ({', '.join(AXES[dims])}), or one int"
        raise SpecError(f"{name}={size!r} has {len(size)} number{'s' * (len(size) != 1)}, and spatial_dims={dims} {needed}")
    return size


def change_dims(size: tuple[int, ...], dims: int) -> tuple[int, ...]:
    """Return (height, width) in another number of dimensions: (width,), or (height, height, width)."""
    *others, width = size
    return (*(others or [width])[-1:] * (dims - 1), width)


def is_one(size: Size) -> bool:
    """Return whether the size is 1 in every dimension."""
    return set(size if isinstance(size, tuple) else (size,)) == {1}


def as_size(values: Iterable[int]) -> Size:
    """Return one int if all values are equal, else their tuple."""
    sides = tuple(values)
    return sides[0] if len(set(sides)) == 1 else sides


def format_size(size: Size) -> str:
    """Return a size with an "x" between its numbers: 7, or 1x7."""
    return str(size) if isinstance(size, int) else "x".join(map(str, size))


def dilated_extent(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Return the pixels that a dilated kernel spans in each dimension: (kernel - 1) * dilation + 1."""
    return tuple((side - 1) * step + 1 for side, step in zip(kernel, dilation, strict=True))


def window_positions(side: int, extent: int, stride: int, padding: int, *, ceil: bool = False) -> int:
    """Return how many positions a window of `extent` pixels has along a side; below 1 if the side is too small.

    `padding` is on both ends. With `ceil` the number is rounded up, as by torch's `ceil_mode`.
    """
    span = side + 2 * padding - extent
    count = (-(-span // stride) if ceil else span // stride) + 1
    return count - (ceil and (count - 1) * stride >= side + padding)  # torch drops a window that would start in the end padding
