"""The modules from which stages are built.

Shapes: n images, c channels, h x w pixels. In one dimension a map is (n, c, length), in three (n, c, depth, h, w).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SpecError
from ..spec import Conv, Pool, Style, Window, make_window
from ._init import allocate, init_weights
from ._memory import activate, is_tracing, run_module
from ._padding import (
    CeilMaxPool1d,
    CeilMaxPool2d,
    CeilMaxPool3d,
    PaddedAvgPool3d,
    ReplicateConv3d,
    SameConv1d,
    SameConv2d,
    SameConv3d,
    SameMaxPool1d,
    SameMaxPool2d,
    SameMaxPool3d,
    TimePaddedPool,
)
from ._pre_activation import PreActModule, apply_activation
from ._training_ops import TrainingOps

ACTS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hard_swish": nn.Hardswish,
}
Kinds = dict[int, type[nn.Module]]  # by the number of spatial dimensions
CONVS: Kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SAME_CONVS: Kinds = {1: SameConv1d, 2: SameConv2d, 3: SameConv3d}
MAX_POOLS: Kinds = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
SAME_MAX_POOLS: Kinds = {1: SameMaxPool1d, 2: SameMaxPool2d, 3: SameMaxPool3d}
CEIL_MAX_POOLS: Kinds = {1: CeilMaxPool1d, 2: CeilMaxPool2d, 3: CeilMaxPool3d}
AVG_POOLS: Kinds = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE_AVG_POOLS: Kinds = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
STYLE_BATCH_NORMS: Kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm

CONVOLUTIONS = *CONVS.values(), *SAME_CONVS.values(), ReplicateConv3d  # these and torch's normalisations return a new tensor
NORMS = *BATCH_NORMS, nn.GroupNorm, type(None)


class ConvNormAct(PreActModule):
    """A convolution `conv`, normalisation `bn` and activation `act`; `bn` or `act` is None if the specification leaves it out.

    With `masked`, a ReLU saves a mask instead of its output in training; see `use_masked_relu`.
    """

    bn: nn.Module | None
    act: nn.Module | None
    training_ops: TrainingOps | None = None

    def __init__(self, in_channels: int, conv: Conv, style: Style) -> None:
        super().__init__()
        self.masked, self.memory_saving = False, True
        self.conv = make_conv(in_channels, conv, style)
        self.bn = make_norm(style, conv.out) if conv.norm else None
        self.act = make_act(style) if conv.act else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the convolution: He's normal weights, zero bias."""
        init_weights(self.conv)

    def forward(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        conv, bn, act = self.conv, self.bn, self.act
        operations = self.training_ops if self.training and not is_tracing() else None
        x = conv(x) if operations is None else operations.convolve(conv, x)
        if operations is not None and self.memory_saving and pre_act is None and operations.normalizes(bn, act, x):
            return operations.normalize_relu(bn, x)
        if bn is not None:
            x = bn(x)
        if pre_act is not None:
            return apply_activation(act, x, pre_act)
        if act is None:
            return x
        if self.memory_saving and type(conv) in CONVOLUTIONS and type(bn) in NORMS:
            return activate(act, x, (conv, bn), masked=self.masked)
        x = act(x)
        return x


def make_conv(in_channels: int, conv: Conv, style: Style) -> Any:
    """Return the convolution alone. Its weights are allocated, but not set."""
    dims = style.spatial_dims
    window = make_window(conv.kernel, conv.stride, conv.dilation, "half" if conv.padding == "same" else conv.padding, dims)
    same = conv.padding == "same" and not window.is_centred
    sizes = in_channels, conv.out, conv.kernel, conv.stride
    options: dict[str, Any] = dict(dilation=conv.dilation, groups=conv.groups)
    options["bias"] = style.bias if conv.bias is None else conv.bias
    if style.time_padding == "replicate":
        return allocate(ReplicateConv3d, *sizes, padding=window.padding, same=same, **options)
    if same:
        return allocate(SAME_CONVS[dims], *sizes, **options)
    return allocate(CONVS[dims], *sizes, window.padding, **options)


def make_norm(style: Style, channels: int) -> nn.Module | None:
    """Return the style's normalisation, or None; "group" has up to 32 groups of at least 4 channels each."""
    if callable(style.norm):
        return _own_module("norm", style.norm, channels)
    if style.norm == "group":
        return nn.GroupNorm(1 if channels % 4 else math.gcd(channels // 4, 32), channels, eps=style.eps)
    if style.norm == "layer":
        return nn.GroupNorm(1, channels, eps=style.eps)
    return STYLE_BATCH_NORMS[style.spatial_dims](channels, eps=style.eps) if style.norm else None


def _own_module(name: str, make: Callable[..., Any], *arguments: int) -> nn.Module:
    """Return the module that a callable of a style makes.

    Raises:
        SpecError: it cannot be called so, or returns something else.
    """
    call = f"{name}={getattr(make, '__name__', make)!r}, called with {arguments[0] if arguments else 'no argument'},"
    try:
        module = make(*arguments)
    except TypeError as error:
        raise SpecError(f"{call} must return a module: {error}") from error
    if not isinstance(module, nn.Module):
        raise SpecError(f"{call} must return a module, not {module!r}")
    return module


def make_act(style: Style) -> nn.Module:
    """Return the style's activation. It is never in place; see `activate`."""
    if callable(style.act):
        return _own_module("act", style.act)
    if style.act == "gelu":
        return nn.GELU()
    return ACTS[style.act]()


def use_masked_relu(module: nn.Module) -> None:
    """Let the ReLU that ends `module`, if one does, save a mask instead of its output in training.

    This saves memory only if the next operation does not save that output itself. A concatenation and the max pool of
    `run_module`, in two dimensions, do not.
    """
    match module:
        case Steps() if len(module):
            use_masked_relu(module[-1])
        case ConvNormAct() | ResidualBlock():
            module.masked = True


def training_batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch normalisation modules in training mode, which use the statistics of the batch."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.training]


class Steps(PreActModule, nn.Sequential):
    """Modules that run one after the other; their max pools save less for the backward pass (`memory_saving`)."""

    memory_saving = True
    training_ops: TrainingOps | None = None

    def forward(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        for index, module in enumerate(self, 1):
            before = pre_act if index == len(self) else None
            x = run_module(module, x, before, compact=self.memory_saving, operations=self.training_ops)
        return x


class MapStages(nn.Sequential):
    """Stages of which several can return their maps in one call."""

    def forward_maps(self, x: Tensor, names: Sequence[str]) -> list[Tensor] | None:
        """Return the maps of the stages `names`, in their order; None if the stages must be called one by one.

        Stages behind the last of them are not run.
        """
        raise NotImplementedError


class Branches(PreActModule, nn.ModuleDict):
    """Branches on the same input, concatenated along channels: (n, c, h, w) -> (n, sum of channels, h', w')."""

    memory_saving = True
    training_ops: TrainingOps | None = None

    def forward(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        maps: list[Tensor] = []
        branch_maps = None if pre_act is None else maps
        options: dict[str, Any] = dict(compact=self.memory_saving, operations=self.training_ops)
        y = torch.cat([run_module(branch, x, branch_maps, **options) for branch in self.values()], 1)
        if pre_act is not None:
            pre_act.append(torch.cat(maps, 1))
        return y


class ResidualBlock(PreActModule):
    """act(shortcut(x) + drop_path(scale * project(body(x)))): (n, c, h, w) -> the shape of the shortcut."""

    training_ops: TrainingOps | None = None

    def __init__(
        self,
        body: nn.Module,
        project: nn.Module,
        shortcut: nn.Module,
        act: nn.Module,
        *,
        scale: float,
        drop_path: float = 0.0,
        dims: int = 2,
    ) -> None:
        super().__init__()
        self.body, self.project, self.shortcut, self.scale, self.act = body, project, shortcut, scale, act
        self.masked, self.memory_saving = False, True
        self.drop_path = DropPath(drop_path, dims) if drop_path else nn.Identity()

    @property
    def is_plain_sum(self) -> bool:
        """Whether the block is act(shortcut(x) + project(body(x)))."""
        return self.scale == 1 and type(self.drop_path) is nn.Identity

    def forward(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        options: dict[str, Any] = dict(compact=self.memory_saving, operations=self.training_ops)
        body = self.project(run_module(self.body, x, **options))
        body = body if self.scale == 1 else self.scale * body
        x = run_module(self.shortcut, x, **options) + self.drop_path(body)
        if pre_act is not None:
            return apply_activation(self.act, x, pre_act)
        x = activate(self.act, x, masked=self.masked) if self.memory_saving else self.act(x)
        return x


class DropPath(nn.Module):
    """Stochastic depth. In training, set each image of x to 0 with probability `rate`, and divide the others by 1 - rate.

    The maps have `dims` spatial dimensions.
    """

    def __init__(self, rate: float, dims: int) -> None:
        super().__init__()
        self.rate, self.dims = rate, dims

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = x.new_empty((x.shape[0], *(1,) * (self.dims + 1))).bernoulli_(1 - self.rate)
        return x * (mask / (1 - self.rate))


def make_pool(pool: Pool, style: Style) -> nn.Module:
    """Return the pooling module of a specification."""
    dims = style.spatial_dims
    if pool.kind == "adaptive_avg":
        return ADAPTIVE_AVG_POOLS[dims](pool.kernel)
    window = make_window(pool.kernel, pool.stride, pool.dilation, "valid" if pool.padding == "valid" else "half", dims)
    if style.time_padding == "zeros":
        return _windowed_pool(pool, window, dims, dims)
    inner = _windowed_pool(pool, window._replace(padding=(0, *window.padding[1:])), dims, dims - 1)
    return TimePaddedPool(inner, window.extent[0], window.stride[0])


def _windowed_pool(pool: Pool, window: Window, dims: int, axes: int) -> nn.Module:
    """Return a pool with this window, which pads the last `axes` dimensions."""
    if pool.kind == "max" and pool.padding == "same":
        return SAME_MAX_POOLS[dims](window, axes)
    if pool.ceil == "pad":
        return CEIL_MAX_POOLS[dims](window, axes)
    if pool.kind == "max":
        return MAX_POOLS[dims](pool.kernel, pool.stride, window.padding, pool.dilation, ceil_mode=pool.ceil)
    if dims == 3 and pool.ceil:  # torch's own rule differs from that of two dimensions
        raise SpecError(f"{pool}: average pools of three dimensions round down; use ceil=False")
    kind = PaddedAvgPool3d if dims == 3 and any(window.padding) else AVG_POOLS[dims]
    return kind(pool.kernel, pool.stride, window.padding, ceil_mode=pool.ceil, count_include_pad=pool.include_pad)
