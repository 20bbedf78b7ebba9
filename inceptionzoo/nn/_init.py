"""Allocation and initialisation of weights. Each weight is allocated once and set once."""

from __future__ import annotations

from functools import cache
from typing import TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


def allocate(kind: type[M], *args: object, **kwargs: object) -> M:
    """Return a module whose weights are allocated but not set; the module that contains it sets them with `init_weights`."""
    module = cast("M", _without_values(kind)(*args, **kwargs))  # type: ignore[arg-type]  # mypy doubts that a class is hashable
    module.__class__ = kind
    return module


@cache
def _without_values(kind: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass that does not set its weights. `torch.nn.utils.skip_init` would allocate them twice."""
    return type(kind.__name__, (kind,), {"reset_parameters": lambda _: None})


def init_weights(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear, std: float | None = None) -> None:
    """Draw normal weights and set the bias to 0. A layer on the meta device is left unchanged.

    The standard deviation is `std`. If it is None, it is He's value for a ReLU, sqrt(2 / fan_in).
    """
    if layer.weight.is_meta:
        return
    if std is None:
        nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, 0.0, std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
