"""The modules of a fused network. Shapes: n images, c channels, h x w pixels; signals are (n, c, length)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..nn import PreActModule, ResidualBlock, Steps, activate, apply_activation, is_relu, private_torch, run_module
from ._autotune import Autotuner, Implementation
from ._conditions import has_frozen_values, is_frozen, must_use_torch
from ._fingerprint import conv_version, values_version
from ._implementations import (
    average_pool_autotuner,
    average_pool_version,
    convolution_autotuner,
    linear_autotuner,
    max_pool_autotuner,
    max_pool_version,
    supports_linear,
)
from ._signals import as_map, is_avg_pool, is_max_pool, is_tunable_conv, like_input

is_patched = private_torch.is_patched


class Tunable:
    """What, if `tuned`, uses its fastest implementation for float32 inputs on the CPU.

    If `cached`, it reads and keeps the results of tuning in the user's cache.
    """

    tuned: bool
    cached: bool


class TunableModule(Tunable, nn.Module):
    """A tunable module whose maps have `dims` spatial dimensions; those of three have no other implementation than torch's."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims, self.tuned, self.cached = dims, False, True
        self._autotuner: Autotuner | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_autotuner": None}  # measurements hold for this process alone


class TunedLayers(Tunable):
    """Runs the layers of a head, of which `nn.Linear` has several implementations: (n, in_features) -> (n, out_features)."""

    def __init__(self, tuned: bool = False, cached: bool = True) -> None:
        self.tuned, self.cached = tuned, cached
        self._autotuners = WeakKeyDictionary[nn.Linear, Autotuner]()

    def __reduce__(self) -> tuple[type[TunedLayers], tuple[bool, bool]]:
        return TunedLayers, (self.tuned, self.cached)  # measurements hold for this process alone

    def __call__(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Return `layer(x)`."""
        implementation = self._implementation(layer, x) if self.tuned and not must_use_torch(x, 0) else None
        y: Tensor = layer(x) if implementation is None else implementation(x)
        return y

    def _implementation(self, layer: nn.Module, x: Tensor) -> Implementation | None:
        """Return the fastest implementation for x's shape, or None if the layer itself must run."""
        if type(layer) is not nn.Linear or x.shape[1] != layer.in_features or is_patched(layer):
            return None
        if not supports_linear(layer, len(x)):
            return None
        if not has_frozen_values(layer):
            return None
        autotuner = self._autotuners.get(layer)
        if autotuner is None or autotuner.version != values_version(layer):
            autotuner = self._autotuners[layer] = linear_autotuner(layer)
        return autotuner.implementation(x, cached=self.cached)


class TunedOp(TunableModule, PreActModule):
    """An operation with several implementations; if none can be used, its own modules run."""

    def forward(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        if pre_act is None and not must_use_torch(x, self.dims):
            image = as_map(x)
            implementation = self.implementation(image)
            if implementation is not None:
                return like_input(implementation(image), x)
        x = self.run_modules(x, pre_act)
        return x

    @abstractmethod
    def run_modules(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        """Return the output, computed by the operation's own modules; append the map before the activation to `pre_act`."""

    @abstractmethod
    def implementation(self, x: Tensor) -> Implementation | None:
        """Return the fastest implementation for x's shape, (n, c, h, w), or None if the modules must run."""

    def implementation_name(self, x: Tensor) -> str:
        """Return the name of the implementation that runs for x's shape, (n, c, h, w)."""
        chosen = self.implementation(x)
        return "torch" if chosen is None or self._autotuner is None else self._autotuner.name(x)


class ConvAct(TunedOp):
    """A convolution, then an activation of its first `active` channels: (n, c, h, w) -> (n, out, h', w')."""

    def __init__(self, conv: nn.Conv2d, act: nn.Module, active: int | None = None) -> None:
        super().__init__(conv.weight.ndim - 2)
        self.conv, self.act = conv, act
        self.active = conv.out_channels if active is None else active

    def run_modules(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        y: Tensor = self.conv(x)
        if pre_act is not None:
            pre_act.append(y)
            y = y.clone()  # `activate` overwrites it
        return self.activate(y)

    def activate(self, y: Tensor) -> Tensor:
        """Return y with its first channels activated, in place if nothing else can have y."""
        if self.active == self.conv.out_channels:
            return activate(self.act, y, (self.conv,))
        active, linear = y[:, : self.active], y[:, self.active :]
        if type(y) is not Tensor or y.requires_grad or private_torch.is_hooked(self.conv):
            return torch.cat((self.act(active), linear), 1)
        active.copy_(self.act(active))
        return y

    def implementation(self, x: Tensor) -> Implementation | None:
        if not self.tuned or is_patched(self.conv) or is_patched(self.act) or not is_tunable_conv(self.conv):
            return None
        if not has_frozen_values(self.conv):
            return None
        relu = self.active if is_relu(self.act) else 0
        if self._autotuner is None or self._autotuner.version != (conv_version(self.conv), relu):
            self._autotuner = convolution_autotuner(self.conv, relu)
        convolve = self._autotuner.implementation(x, cached=self.cached)
        return convolve if relu == self.active or type(self.act) is nn.Identity else lambda x: self.activate(convolve(x))


class TunedMaxPool(TunedOp):
    """A max pool: (n, c, h, w) -> (n, c, h', w')."""

    def __init__(self, pool: nn.MaxPool1d | nn.MaxPool2d) -> None:
        super().__init__(1 if isinstance(pool, nn.MaxPool1d) else 2)
        self.pool = pool

    def run_modules(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        return run_module(self.pool, x, pre_act, compact=False)

    def implementation(self, x: Tensor) -> Implementation | None:
        if not self.tuned or is_patched(self.pool) or not is_max_pool(self.pool):
            return None
        if self._autotuner is None or self._autotuner.version != max_pool_version(self.pool):
            self._autotuner = max_pool_autotuner(self.pool)
        return self._autotuner.implementation(x, cached=self.cached)


class PoolBiasAct(TunedOp):
    """An average pool, then a bias per channel and an activation: (n, c, h, w) -> (n, c, h', w').

    It ends a branch whose average pool was moved behind its 1x1 convolution. Both are linear, so the result is the same.
    """

    def __init__(self, pool: nn.Module, bias: Tensor, act: nn.Module, dims: int) -> None:
        super().__init__(dims)
        self.pool, self.act = pool, act
        self.bias = nn.Parameter(bias, requires_grad=False)

    def run_modules(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        y = self.pool(x) + self.bias.view(-1, *(1,) * self.dims)
        return activate(self.act, y) if pre_act is None else apply_activation(self.act, y, pre_act)

    def implementation(self, x: Tensor) -> Implementation | None:
        supported = is_avg_pool(self.pool) and (is_relu(self.act) or type(self.act) is nn.Identity)
        if not self.tuned or not supported or is_patched(self.pool) or is_patched(self.act) or not is_frozen(self.bias):
            return None
        version = average_pool_version(self.pool, self.bias, is_relu(self.act))
        if self._autotuner is None or self._autotuner.version != version:
            self._autotuner = average_pool_autotuner(self.pool, self.bias, is_relu(self.act))
        return self._autotuner.implementation(x, cached=self.cached)


class FusedResidual(ResidualBlock):
    """A residual block whose projection, if it is a convolution, is tuned in programs like the convolutions of its body."""

    def __init__(self, body: nn.Module, project: nn.Module, shortcut: nn.Module, act: nn.Module, *, scale: float) -> None:
        super().__init__(body, project, shortcut, act, scale=scale)
        self._tuned_project: ConvAct | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tuned_project": None}  # measurements hold for this process alone

    def tuned_project(self) -> nn.Module:
        """Return the projection as a tuned operation, or as it is."""
        project: Any = self.project
        like = next((op for op in self.body.modules() if isinstance(op, ConvAct) and op.tuned), None)
        if like is None or not is_tunable_conv(project):
            return self.project
        if self._tuned_project is None or self._tuned_project.conv is not project:
            # not as a submodule, which would change names of weights
            self.__dict__["_tuned_project"] = ConvAct(project, nn.Identity())
        assert self._tuned_project is not None
        self._tuned_project.tuned, self._tuned_project.cached = like.tuned, like.cached
        return self._tuned_project


class JoinedBranches(PreActModule):
    """Branches whose leading 1x1 convolutions run as one: (n, c, h, w) -> (n, sum of widths, h', w').

    Args:
        first: the joined convolution.
        act: its activation, of the first `active` output channels.
        active: the number of channels that are activated.
        widths: the number of channels of `first` that each branch of `joined` takes.
        joined: the remainders of the joined branches, by their position in the output.
        alone: the other branches, which take the input, by their position in the output.
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
        self.joined = nn.ModuleDict({str(position): module for position, module in joined.items()})
        self.alone = nn.ModuleDict({str(position): module for position, module in alone.items()})

    def branches(self, x: Tensor, y: Tensor) -> list[tuple[nn.Module, Tensor]]:
        """Return each branch with its input, in the order of the output; y is the output of `first`."""
        parts = torch.split(y, self.widths, 1)  # indexed below, because torch.fx cannot iterate over it
        branches = {int(position): (branch, parts[index]) for index, (position, branch) in enumerate(self.joined.items())}
        branches |= {int(position): (branch, x) for position, branch in self.alone.items()}
        return [branches[position] for position in sorted(branches)]

    def forward(self, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
        if pre_act is not None:
            return self._forward_with_pre_act(x, pre_act)
        return torch.cat([branch(part) for branch, part in self.branches(x, self.first(x))], 1)

    def _forward_with_pre_act(self, x: Tensor, pre_act: list[Tensor]) -> Tensor:
        before_first: list[Tensor] = []
        before: list[Tensor] = []
        after: list[Tensor] = []
        branches = self.branches(x, self.first(x, before_first))
        for (branch, part), (_, part_before) in zip(branches, self.branches(x, before_first[0]), strict=True):
            if isinstance(branch, Steps) and not len(branch):  # the whole branch is its part of the joined convolution
                before.append(part_before)
                after.append(part)
            else:
                after.append(run_module(branch, part, before))
        pre_act.append(torch.cat(before, 1))
        return torch.cat(after, 1)

    def extra_repr(self) -> str:
        return f"widths={self.widths}"
