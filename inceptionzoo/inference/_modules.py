"""The modules of a fused network. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..nn import is_relu
from ._autotune import (
    Autotuner,
    Implementation,
    average_pool_autotuner,
    conv_version,
    convolution_autotuner,
    has_hooks,
    is_frozen,
    is_plain_frozen_conv,
    max_pool_autotuner,
    must_use_torch,
    tensor_version,
)


class TunableModule(nn.Module):
    """A module that runs, where it is `tuned`, on a CPU in float32 by the fastest of its ways."""

    def __init__(self) -> None:
        super().__init__()
        self.tuned = False
        self._autotuner: Autotuner | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_autotuner": None}  # they are this process's alone


class TunedOp(TunableModule):
    """An operation that has several ways; without one it runs `itself`, module by module."""

    def forward(self, x: Tensor) -> Tensor:
        way = None if must_use_torch(x) else self.implementation(x)
        x = self.run_modules(x) if way is None else way(x)
        return x

    @abstractmethod
    def run_modules(self, x: Tensor) -> Tensor:
        """Return what its modules give."""

    @abstractmethod
    def implementation(self, x: Tensor) -> Implementation | None:
        """Return the fastest way for such an input, or None where the modules must run themselves."""


class ConvAct(TunedOp):
    """A convolution with bias, then an activation, of the first `active` channels: (n, c, h, w) -> (n, out, h', w')."""

    def __init__(self, conv: nn.Conv2d, act: nn.Module, active: int | None = None) -> None:
        super().__init__()
        self.conv, self.act = conv, act
        self.active = conv.out_channels if active is None else active

    def run_modules(self, x: Tensor) -> Tensor:
        return self.activate(self.conv(x))

    def activate(self, y: Tensor) -> Tensor:
        """Return y with the activation of its first channels."""
        if self.active == self.conv.out_channels:
            y = self.act(y)
            return y
        active, linear = y[:, : self.active], y[:, self.active :]
        if y.requires_grad:
            return torch.cat((self.act(active), linear), 1)
        active.copy_(self.act(active))  # itself, where the activation works in place
        return y

    def implementation(self, x: Tensor) -> Implementation | None:
        if not self.tuned or has_hooks(self.conv) or has_hooks(self.act) or not is_plain_frozen_conv(self.conv):
            return None
        relu = self.active if is_relu(self.act) else 0
        if self._autotuner is None or self._autotuner.version != conv_version(self.conv):
            self._autotuner = convolution_autotuner(self.conv, relu)
        way = self._autotuner.implementation(x)
        return way if relu == self.active or type(self.act) is nn.Identity else lambda x: self.activate(way(x))


class TunedMaxPool(TunedOp):
    """A max pool: (n, c, h, w) -> (n, c, h', w')."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def run_modules(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(x)
        return y

    def implementation(self, x: Tensor) -> Implementation | None:
        if not self.tuned or has_hooks(self.pool):
            return None
        self._autotuner = self._autotuner or max_pool_autotuner(self.pool)
        return self._autotuner.implementation(x)


class PoolBiasAct(TunedOp):
    """The average of a 1x1 convolution's output, where the network averages its input: the same, since both are linear."""

    def __init__(self, pool: nn.Module, bias: Tensor, act: nn.Module) -> None:
        super().__init__()
        self.pool, self.act = pool, act
        self.bias = nn.Parameter(bias, requires_grad=False)

    def run_modules(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.pool(x) + self.bias[:, None, None])
        return y

    def implementation(self, x: Tensor) -> Implementation | None:
        known = is_relu(self.act) or type(self.act) is nn.Identity
        if not self.tuned or not known or has_hooks(self.pool) or has_hooks(self.act) or not is_frozen(self.bias):
            return None
        if self._autotuner is None or self._autotuner.version != tensor_version(self.bias):
            self._autotuner = average_pool_autotuner(self.pool, self.bias, is_relu(self.act))
        return self._autotuner.implementation(x)


class JoinedBranches(nn.Module):
    """Branches whose first 1x1 convolutions run as one: (n, c, h, w) -> (n, sum of widths, h', w').

    `first` gives the maps that the branches of `joined` begin with, `widths` wide; the branches of `alone` take the input.
    Both are keyed by their place in the output.
    """

    def __init__(
        self,
        first: nn.Conv2d,
        act: nn.Module,
        active: int,
        widths: Sequence[int],
        joined: Mapping[int, nn.Module],
        alone: Mapping[int, nn.Module],
    ) -> None:
        super().__init__()
        self.first, self.widths = ConvAct(first, act, active), list(widths)
        self.joined = nn.ModuleDict({str(place): module for place, module in joined.items()})
        self.alone = nn.ModuleDict({str(place): module for place, module in alone.items()})

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        parts = y.split(self.widths, 1)
        outs = {int(place): module(part) for (place, module), part in zip(self.joined.items(), parts, strict=True)}
        outs |= {int(place): module(x) for place, module in self.alone.items()}
        return torch.cat([outs[place] for place in sorted(outs)], 1)

    def extra_repr(self) -> str:
        return f"widths={self.widths}"
