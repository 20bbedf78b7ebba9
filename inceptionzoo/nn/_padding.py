"""Convolutions and pools that pad their input themselves.

Shapes: n images, c channels, h x w pixels. In one dimension a map is (n, c, length), in three (n, c, depth, h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..spec import Window, dilated_extent
from ._memory import can_compact, compact_max_pool, window
from ._pre_activation import PreActModule


def same_padding(x: Tensor, extent: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the padding of `F.pad` with which TensorFlow's "SAME" pads x for a window of `extent` pixels.

    An odd total puts the extra pixel at the bottom or right.
    """
    sides: list[int] = []
    for axis in range(len(extent)):  # an index for each, because torch.fx cannot iterate over a shape
        total = extent[axis] - stride[axis] + -x.shape[axis - len(extent)] % stride[axis]
        sides = [total // 2, total - total // 2, *sides]  # F.pad takes the last dimension first
    return sides


def pad_same(x: Tensor, extent: Sequence[int], stride: Sequence[int], value: float = 0.0) -> Tensor:
    """Return x padded as TensorFlow's "SAME"; a window of one pixel needs no padding, and the formula gives a negative one."""
    return x if set(extent) == {1} else F.pad(x, same_padding(x, extent, stride), value=value)


class _Same(nn.Module):
    """The part that the convolutions with TensorFlow's "SAME" padding share."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def forward(self, input: Tensor) -> Tensor:
        extent = dilated_extent(self.kernel_size, self.dilation)
        result: Tensor = super().forward(pad_same(input, extent, self.stride))
        return result


class SameConv1d(_Same, nn.Conv1d):
    """A convolution padded as TensorFlow's "SAME": (n, c, length) -> (n, out, ceil(length / stride))."""


class SameConv2d(_Same, nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": (n, c, h, w) -> (n, out, ceil(h / stride), ceil(w / stride))."""


class SameConv3d(_Same, nn.Conv3d):
    """A convolution padded as TensorFlow's "SAME": each side of the map becomes ceil(side / stride)."""


class ReplicateConv3d(nn.Conv3d):
    """A convolution of `Style(time_padding="replicate")`: (n, c, t, h, w) -> (n, out, ceil(t / stride), h', w').

    With `same` it pads height and width as TensorFlow's "SAME", else by `padding`.
    """

    def __init__(self, *sizes: Any, padding: tuple[int, ...], same: bool, **options: Any) -> None:
        options["padding"] = 0 if same else (0, *padding[1:])
        super().__init__(*sizes, **options)
        self.same = same

    def forward(self, input: Tensor) -> Tensor:
        extent = dilated_extent(self.kernel_size, self.dilation)
        x = pad_time(input, extent[0], self.stride[0])
        if self.same:
            x = pad_same(x, extent[1:], self.stride[1:])
        result: Tensor = super().forward(x)
        return result


class TimePaddedPool(PreActModule):
    """A pool of `Style(time_padding="replicate")`: (n, c, t, h, w) -> (n, c, ceil(t / stride), h', w').

    `pool` does not pad the first dimension. Its window has `frames` frames and moves by `step`.
    """

    def __init__(self, pool: nn.Module, frames: int, step: int) -> None:
        super().__init__()
        self.pool, self.frames, self.step = pool, frames, step

    def forward(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        x = self.pool(pad_time(x, self.frames, self.step))
        if pre_act is not None:
            pre_act.append(x)
        return x


def pad_time(x: Tensor, frames: int, step: int) -> Tensor:
    """Return x with copies of its first and last frame, for a window of `frames` frames: (n, c, t, h, w)."""
    if frames == 1:
        return x
    total = frames - step + -x.shape[2] % step
    if frames < step:
        total = larger(0, total)
    return F.pad(x, [0, 0, 0, 0, total // 2, total - total // 2], mode="replicate")


def larger(a: int, b: int) -> int:
    """Return the larger of two sizes. `b` is a symbolic int while the model is exported, and a tensor in torch.jit.trace."""
    if isinstance(b, Tensor):
        return b.clamp(min=a)
    return torch.sym_max(a, b)  # type: ignore[return-value]


class _SamePool(nn.Module):
    """The part that the max pools with TensorFlow's "SAME" padding share. They pad the last `axes` dimensions with -inf."""

    def __init__(self, window: Window, axes: int) -> None:
        super().__init__(window.kernel, window.stride, dilation=window.dilation)
        self.memory_saving = True
        self.step, self.extent = window.stride[-axes:], window.extent[-axes:]

    def forward(self, input: Tensor) -> Tensor:
        return _max_pool(self, super().forward, pad_same(input, self.extent, self.step, float("-inf")))


class SameMaxPool1d(_SamePool, nn.MaxPool1d):
    """A max pool padded as TensorFlow's "SAME": (n, c, length) -> (n, c, ceil(length / stride))."""


class SameMaxPool2d(_SamePool, nn.MaxPool2d):
    """A max pool padded as TensorFlow's "SAME": (n, c, h, w) -> (n, c, ceil(h / stride), ceil(w / stride))."""


class SameMaxPool3d(_SamePool, nn.MaxPool3d):
    """A max pool padded as TensorFlow's "SAME": each side of the map becomes ceil(side / stride)."""


class _CeilPool(nn.Module):
    """The part that the max pools share which replace `ceil_mode=True` by padding, for runtimes without that mode.

    They pad the last `axes` dimensions.
    """

    def __init__(self, window: Window, axes: int) -> None:
        super().__init__(window.kernel, window.stride, window.padding, window.dilation)
        self.step, self.memory_saving = window.stride[-axes:], True

    def forward(self, input: Tensor) -> Tensor:
        extra = [side for step in reversed(self.step) for side in (0, step - 1)]
        return _max_pool(self, super().forward, F.pad(input, extra, value=float("-inf")))


class CeilMaxPool1d(_CeilPool, nn.MaxPool1d):
    """A max pool with the output of `ceil_mode=True`. It pads at the end."""


class CeilMaxPool2d(_CeilPool, nn.MaxPool2d):
    """A max pool with the output of `ceil_mode=True`. It pads at the bottom and right."""


class CeilMaxPool3d(_CeilPool, nn.MaxPool3d):
    """A max pool with the output of `ceil_mode=True`. It pads at the end of each dimension."""


class PaddedAvgPool3d(nn.AvgPool3d):
    """An average pool with padding, for maps of any size. torch's refuses a map smaller than its kernel, padded or not."""

    def __init__(self, kernel: Any, stride: Any, padding: tuple[int, ...], *, ceil_mode: bool, count_include_pad: bool) -> None:
        super().__init__(kernel, stride, ceil_mode=ceil_mode)
        self.pads, self.include_pad = [side for pixels in reversed(padding) for side in (pixels, pixels)], count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        mean: Tensor = super().forward(F.pad(input, self.pads))
        if self.include_pad:
            return mean
        ones = input.new_ones((1, 1, *(input.shape[axis] for axis in (2, 3, 4))))
        share: Tensor = super().forward(F.pad(ones, self.pads))  # of each window that lies on the map
        return mean / share


def _max_pool(pool: Any, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the pool of the padded map x. `forward` is that of torch's module; two dimensions can save memory."""
    if isinstance(pool, nn.MaxPool2d) and pool.memory_saving and can_compact(pool, x):
        return compact_max_pool(x, window(pool))
    return forward(x)
