"""The modules from which stages are built.

Shapes: n images, c channels, h x w pixels. In one dimension a map is (n, c, length), in three (n, c, depth, h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..spec import Conv, Style
from ._init import init_weights
from ._layers import CONVOLUTIONS, NORMS, make_act, make_conv, make_norm
from ._memory import activate, is_tracing, run_module
from ._pre_activation import PreActModule, apply_activation
from ._training_ops import TrainingOps


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
