"""Modules that can also return the map before the activation that ends them."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ArgumentError

NO_ACTIVATION = (  # as the end of a branch
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.LocalResponseNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.Identity,
)


class PreActModule(nn.Module):
    """A module whose `forward` takes a list, `pre_act`, and appends its output before the last activation.

    Branches are concatenated. Of a branch without an activation at its end, such as a pool, this is the output itself.
    """


def run_with_pre_act(module: nn.Module, x: Tensor, pre_act: list[Tensor]) -> Tensor:
    """Return `module(x)`, and append the map before its last activation to `pre_act`.

    Raises:
        ArgumentError: the module is not of this library, so that this map is unknown.
    """
    if isinstance(module, PreActModule):
        y: Tensor = module(x, pre_act=pre_act)  # a keyword, which hooks do not get
        return y
    if not isinstance(module, NO_ACTIVATION):
        kind = type(module).__name__
        raise ArgumentError(f"a module of type {kind} replaces one of this model; its map before the activation is unknown")
    y = module(x)
    pre_act.append(y)
    return y


def apply_activation(act: nn.Module | None, x: Tensor, pre_act: list[Tensor]) -> Tensor:
    """Return `act(x)`, and append x, which is not overwritten, to `pre_act`."""
    pre_act.append(x)
    if act is None:
        return x
    keeps_input = type(act) is nn.ReLU and not act.inplace
    y: Tensor = act(x if keeps_input else x.clone())
    return y
