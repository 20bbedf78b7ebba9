"""Training by the library's own CPU kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from ..errors import check_flag
from ..kernels import KernelOps
from ..nn import Net, set_training_ops

M = TypeVar("M", bound=nn.Module)


def use_kernels(model: M, enable: bool = True) -> M:
    """Let a model, in place, train by the library's CPU kernels where these are faster than torch's, and return it.

    Kernels replace operations in training mode, in fp32 on the CPU, if the model and its images are in torch's channels_last
    memory format. Elsewhere, and for hooks, tracers, functorch and autocast, the model runs by torch's operations. Outputs and
    gradients differ from torch's by about 1e-5 of the largest value. They are the same on every run. `fit` does this itself.
    Inside a layer's output that is nan or infinite, these values spread to the pixels around.

    Args:
        model: a model of this library, or a module that contains some.
        enable: False to train by torch's operations again.

    Raises:
        ArgumentError: `enable` is not a bool.
    """
    check_flag("enable", enable)
    set_training_ops(model, KernelOps() if enable else None)
    return model


@contextmanager
def training_kernels(model: Net, enable: bool) -> Iterator[None]:
    """Use kernels if `enable`, or if the model does so already, and restore its setting afterwards."""
    before = model.training_ops
    if enable:
        use_kernels(model)
    try:
        yield
    finally:
        set_training_ops(model, before)
