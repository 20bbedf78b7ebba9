"""The modules of a fused network. Shapes: n images, c channels, h x w pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .ways import Ways, convolution, fixed, max_pool, plain, version, watched


class Tuned(nn.Module):
    """A module that runs, where it is `tuned`, on a CPU in float32 by the fastest of its ways."""

    def __init__(self) -> None:
        super().__init__()
        self.tuned = False
        self._ways: Ways | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ways": None}  # they are this process's alone


class ConvAct(Tuned):
    """A convolution with bias, then an activation: (n, c, h, w) -> (n, out, h', w')."""

    def __init__(self, conv: nn.Conv2d, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = conv, act

    def forward(self, x: Tensor) -> Tensor:
        if not self.tuned or plain(x) or watched(self.conv) or watched(self.act) or not fixed(self.conv):
            x = self.act(self.conv(x))
            return x
        relu = type(self.act) is nn.ReLU
        if self._ways is None or self._ways.version != version(self.conv):
            self._ways = convolution(self.conv, relu)
        x = self._ways(x)
        return x if relu else self.act(x)


class MaxPool(Tuned):
    """A max pool: (n, c, h, w) -> (n, c, h', w')."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        if not self.tuned or plain(x) or watched(self.pool):
            x = self.pool(x)
            return x
        self._ways = self._ways or max_pool(self.pool)
        x = self._ways(x)
        return x


class PoolAfter(nn.Module):
    """The average of a 1x1 convolution's output, where the network averages its input: the same, since both are linear."""

    def __init__(self, pool: nn.Module, bias: Tensor, act: nn.Module) -> None:
        super().__init__()
        self.pool, self.act = pool, act
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.pool(x) + self.bias[:, None, None])
        return x


class JoinedBranches(nn.Module):
    """Branches whose first 1x1 convolutions run as one: (n, c, h, w) -> (n, sum of widths, h', w').

    `first` gives the maps that the branches of `joined` begin with, `widths` wide; the first `active` channels of them go
    through `act`. The branches of `alone` take the input. Both are keyed by their place in the output.
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
        self.active, self.widths = active, list(widths)
        self.first = ConvAct(first, act if active == sum(widths) else nn.Identity())
        self.act = act
        self.joined = nn.ModuleDict({str(place): module for place, module in joined.items()})
        self.alone = nn.ModuleDict({str(place): module for place, module in alone.items()})

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if 0 < self.active < sum(self.widths):
            active, linear = y[:, : self.active], y[:, self.active :]
            if y.requires_grad:
                y = torch.cat((self.act(active), linear), 1)
            else:
                active.copy_(self.act(active))  # itself, where the activation works in place
        parts = y.split(self.widths, 1)
        outs = {int(place): module(part) for (place, module), part in zip(self.joined.items(), parts, strict=True)}
        outs |= {int(place): module(x) for place, module in self.alone.items()}
        return torch.cat([outs[place] for place in sorted(outs)], 1)

    def extra_repr(self) -> str:
        return f"active={self.active}, widths={self.widths}"
