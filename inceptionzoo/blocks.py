"""The modules that a specification builds into. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from .network import Style
from .spec import Conv, Pool, Size, half_padding, pair

M = TypeVar("M", bound=nn.Module)


def unset(kind: Callable[..., M], *args: object, **kwargs: object) -> M:
    """Return a module whose weights are allocated and not set: its owner's `reset_parameters` sets them, once."""
    module: M = skip_init(kind, *args, device=torch.get_default_device(), **kwargs)  # type: ignore[no-untyped-call]  # torch left it untyped
    return module


def pad_same(x: Tensor, kernel: Size, stride: int, value: float = 0.0) -> Tensor:
    """Return `x` padded as TensorFlow's "SAME": what is odd goes to the bottom and the right."""
    tall, wide = pair(kernel)
    if tall == wide == 1:  # a window of one pixel never needs padding, whatever its stride
        return x
    below, beside = tall - stride + -x.shape[-2] % stride, wide - stride + -x.shape[-1] % stride
    return F.pad(x, (beside // 2, beside - beside // 2, below // 2, below - below // 2), value=value)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": (n, c, h, w) -> (n, out, ceil(h / stride), ceil(w / stride))."""

    def forward(self, input: Tensor) -> Tensor:
        kernel = (self.kernel_size[0], self.kernel_size[1])
        return super().forward(pad_same(input, kernel, int(self.stride[0])))


class SameMaxPool2d(nn.MaxPool2d):
    """A max pool padded as TensorFlow's "SAME", with minus infinity."""

    def __init__(self, kernel: Size, step: int) -> None:
        super().__init__(kernel, step)
        self.step = step

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = super().forward(pad_same(input, self.kernel_size, self.step, float("-inf")))
        return result


class ConvNormAct(nn.Module):
    """Convolution, batch normalisation, ReLU, the last two where the specification has them."""

    def __init__(self, in_channels: int, conv: Conv, style: Style) -> None:
        super().__init__()
        normed = conv.norm and style.norm is not None
        same = conv.padding == "same" and (conv.stride > 1 or any(side % 2 == 0 for side in pair(conv.kernel)))
        padding = half_padding(conv.kernel, "half" if conv.padding == "same" and not same else conv.padding)
        self.conv = unset(
            SameConv2d if same else nn.Conv2d,
            in_channels,
            conv.out,
            conv.kernel,
            conv.stride,
            padding,
            groups=conv.groups,
            bias=style.bias if conv.bias is None else conv.bias,
        )
        self.bn = nn.BatchNorm2d(conv.out, eps=style.eps) if normed else nn.Identity()
        self.act = nn.ReLU(inplace=True) if conv.act else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw He's normal weights for the fan-in; zero biases."""
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in", nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.conv(x)))
        return x


class Branches(nn.ModuleDict):
    """Every branch on the same input, concatenated along channels: (n, c, h, w) -> (n, sum of widths, h', w')."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], 1)


class Shortcut(nn.Module):
    """shortcut(x) + scale * project(body(x)), then ReLU where `act`."""

    def __init__(self, body: nn.Module, project: nn.Module, shortcut: nn.Module, *, scale: float, act: bool) -> None:
        super().__init__()
        self.body, self.project, self.shortcut, self.scale = body, project, shortcut, scale
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.shortcut(x) + self.scale * self.project(self.body(x)))
        return x


def make_pool(pool: Pool) -> nn.Module:
    """Return torch's pooling module of a specification."""
    if pool.kind == "adaptive_avg":
        return nn.AdaptiveAvgPool2d(pool.kernel)
    if pool.kind == "max" and pool.padding == "same":
        return SameMaxPool2d(pool.kernel, pool.stride)
    padding = half_padding(pool.kernel, "valid" if pool.padding == "valid" else "half")
    if pool.kind == "max":
        return nn.MaxPool2d(pool.kernel, pool.stride, padding, ceil_mode=pool.ceil)
    return nn.AvgPool2d(pool.kernel, pool.stride, padding, ceil_mode=pool.ceil, count_include_pad=pool.include_pad)
