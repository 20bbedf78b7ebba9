"""The modules that a specification builds into. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..spec import Conv, Pool, Size, Style, as_pair, dilated_extent, half_padding
from ._memory import CompactMaxPool2d, MaskedReLU

ACTS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hard_swish": nn.Hardswish,
}
BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm
M = TypeVar("M", bound=nn.Module)


def allocate(kind: type[M], *args: object, **kwargs: object) -> M:
    """Return a module whose weights are allocated and not set: its owner sets them, once, by `draw`."""
    module = cast("M", _without_values(kind)(*args, **kwargs))  # type: ignore[arg-type]  # mypy doubts that a class is hashable
    module.__class__ = kind
    return module


@cache
def _without_values(kind: type[nn.Module]) -> type[nn.Module]:
    """Return the class with weights that are left as they are allocated; torch's `skip_init` allocates them twice."""
    return type(kind.__name__, (kind,), {"reset_parameters": lambda _: None})


def init_weights(layer: nn.Conv2d | nn.Linear, std: float | None = None) -> None:
    """Draw normal weights, He's for the fan-in or of deviation `std`, and zero the bias, where the layer has memory."""
    if layer.weight.is_meta:  # torch would draw nothing, slowly
        return
    if std is None:
        nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, 0.0, std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def pad_same(x: Tensor, span: tuple[int, int], stride: int, value: float = 0.0) -> Tensor:
    """Return `x` padded as TensorFlow's "SAME" for a window of `span` pixels: what is odd goes to the bottom and the right."""
    tall, wide = span
    if tall == wide == 1:  # a window of one pixel never needs padding, whatever its stride
        return x
    below, beside = tall - stride + -x.shape[-2] % stride, wide - stride + -x.shape[-1] % stride
    return F.pad(x, (beside // 2, beside - beside // 2, below // 2, below - below // 2), value=value)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": (n, c, h, w) -> (n, out, ceil(h / stride), ceil(w / stride))."""

    def forward(self, input: Tensor) -> Tensor:
        span = dilated_extent((self.kernel_size[0], self.kernel_size[1]), int(self.dilation[0]))
        return super().forward(pad_same(input, span, int(self.stride[0])))


class SameMaxPool2d(CompactMaxPool2d):
    """A max pool padded as TensorFlow's "SAME", with minus infinity."""

    def __init__(self, kernel: Size, step: int, dilation: int) -> None:
        super().__init__(kernel, step, dilation=dilation)
        self.step, self.span = step, dilated_extent(kernel, dilation)

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = super().forward(pad_same(input, self.span, self.step, float("-inf")))
        return result


class CeilMaxPool2d(CompactMaxPool2d):
    """A max pool of `ceil_mode=True` by padding below and beside: the same output, where only floor mode is known."""

    def __init__(self, kernel_size: Size, stride: int, padding: tuple[int, int], dilation: int) -> None:
        super().__init__(kernel_size, stride, padding, dilation)
        self.step = stride

    def forward(self, input: Tensor) -> Tensor:
        more = self.step - 1
        result: Tensor = super().forward(F.pad(input, (0, more, 0, more), value=float("-inf")))
        return result


class ConvNormAct(nn.Module):
    """Convolution, batch normalisation, ReLU, the last two where the specification has them."""

    def __init__(self, in_channels: int, conv: Conv, style: Style) -> None:
        super().__init__()
        normed = conv.norm and style.norm is not None
        same = conv.padding == "same" and (conv.stride > 1 or any(side % 2 == 0 for side in as_pair(conv.kernel)))
        padding = half_padding(conv.kernel, "half" if conv.padding == "same" and not same else conv.padding, conv.dilation)
        self.conv = allocate(
            SameConv2d if same else nn.Conv2d,
            in_channels,
            conv.out,
            conv.kernel,
            conv.stride,
            padding,
            dilation=conv.dilation,
            groups=conv.groups,
            bias=style.bias if conv.bias is None else conv.bias,
        )
        self.bn = make_norm(style, conv.out) if normed else nn.Identity()
        self.act = make_act(style) if conv.act else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw He's normal weights for the fan-in; zero biases."""
        init_weights(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.conv(x)))
        return x


def make_norm(style: Style, channels: int) -> nn.Module:
    """Return the style's normalisation of `channels` channels; groups are up to 32, of four channels or more each."""
    if callable(style.norm):
        module: nn.Module = style.norm(channels)
        return module
    if style.norm == "group":
        return nn.GroupNorm(1 if channels % 4 else math.gcd(channels // 4, 32), channels, eps=style.eps)
    if style.norm == "layer":
        return nn.GroupNorm(1, channels, eps=style.eps)
    return nn.BatchNorm2d(channels, eps=style.eps) if style.norm else nn.Identity()


def make_act(style: Style, *, inplace: bool = True) -> nn.Module:
    """Return the style's activation."""
    if callable(style.act):
        module: nn.Module = style.act()
        return module
    if style.act == "gelu":
        return nn.GELU()
    return ACTS[style.act](inplace=inplace)


def use_masked_relu(module: nn.Module, style: Style) -> None:
    """Let the ReLU that ends a module keep a mask of its output in training, for where nobody else keeps that output.

    So it is where a concatenation or a max pool comes next. An activation of the caller's own stays.
    """
    match module:
        case nn.Sequential() if len(module):
            use_masked_relu(module[-1], style)
        case ConvNormAct() | ResidualBlock() if style.act == "relu" and type(module.act) is nn.ReLU:
            module.act = MaskedReLU(module.act.inplace)


def training_batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch normalisations that take their statistics of the batch."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.training]


class Branches(nn.ModuleDict):
    """Every branch on the same input, concatenated along channels: (n, c, h, w) -> (n, sum of widths, h', w')."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], 1)


class ResidualBlock(nn.Module):
    """shortcut(x) + scale * project(body(x)), then an activation; without the body for a share of images in training."""

    def __init__(
        self, body: nn.Module, project: nn.Module, shortcut: nn.Module, act: nn.Module, *, scale: float, drop_path: float
    ) -> None:
        super().__init__()
        self.body, self.project, self.shortcut, self.scale, self.act = body, project, shortcut, scale, act
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        body = self.project(self.body(x))
        body = body if self.scale == 1 else self.scale * body
        x = self.act(self.shortcut(x) + self.drop_path(body))
        return x


class DropPath(nn.Module):
    """Zero for a share `rate` of the images in training, 1 / (1 - rate) times the rest: stochastic depth, (n, c, h, w) both."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))


def make_pool(pool: Pool) -> nn.Module:
    """Return torch's pooling module of a specification."""
    if pool.kind == "adaptive_avg":
        return nn.AdaptiveAvgPool2d(pool.kernel)
    if pool.kind == "max" and pool.padding == "same":
        return SameMaxPool2d(pool.kernel, pool.stride, pool.dilation)
    padding = half_padding(pool.kernel, "valid" if pool.padding == "valid" else "half", pool.dilation)
    if pool.ceil == "pad":
        return CeilMaxPool2d(pool.kernel, pool.stride, padding, pool.dilation)
    if pool.kind == "max":
        return CompactMaxPool2d(pool.kernel, pool.stride, padding, pool.dilation, ceil_mode=pool.ceil)
    return nn.AvgPool2d(pool.kernel, pool.stride, padding, ceil_mode=pool.ceil, count_include_pad=pool.include_pad)
