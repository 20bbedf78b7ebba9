"""Convolutions and max pools that pad their input themselves. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..spec import Size, dilated_extent
from ._memory import can_compact, compact_max_pool, window


def pad_same(x: Tensor, extent: tuple[int, int], stride: int, value: float = 0.0) -> Tensor:
    """Return `x` padded as TensorFlow's "SAME" for a window of `extent` pixels (height, width).

    An odd total puts the extra row or column at the bottom or right.
    """
    if extent == (1, 1):  # the formula gives a negative padding
        return x
    rows, columns = extent[0] - stride + -x.shape[-2] % stride, extent[1] - stride + -x.shape[-1] % stride
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), value=value)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": (n, c, h, w) -> (n, out, ceil(h / stride), ceil(w / stride))."""

    def forward(self, input: Tensor) -> Tensor:
        extent = dilated_extent((self.kernel_size[0], self.kernel_size[1]), int(self.dilation[0]))
        return super().forward(pad_same(input, extent, int(self.stride[0])))


class SameMaxPool2d(nn.MaxPool2d):
    """A max pool padded as TensorFlow's "SAME", with -inf: (n, c, h, w) -> (n, c, ceil(h / stride), ceil(w / stride))."""

    def __init__(self, kernel: Size, step: int, dilation: int) -> None:
        super().__init__(kernel, step, dilation=dilation)
        self.memory_saving = True
        self.step, self.extent = step, dilated_extent(kernel, dilation)

    def forward(self, input: Tensor) -> Tensor:
        x = pad_same(input, self.extent, self.step, float("-inf"))
        if self.memory_saving and can_compact(self, x):
            return compact_max_pool(x, window(self))
        result: Tensor = super().forward(x)
        return result


class CeilMaxPool2d(nn.MaxPool2d):
    """A max pool with the output of `ceil_mode=True`. It pads at the bottom and right, for runtimes without that mode."""

    def __init__(self, kernel_size: Size, stride: int, padding: tuple[int, int], dilation: int) -> None:
        super().__init__(kernel_size, stride, padding, dilation)
        self.step, self.memory_saving = stride, True

    def forward(self, input: Tensor) -> Tensor:
        extra = self.step - 1
        x = F.pad(input, (0, extra, 0, extra), value=float("-inf"))
        if self.memory_saving and can_compact(self, x):
            return compact_max_pool(x, window(self))
        result: Tensor = super().forward(x)
        return result
