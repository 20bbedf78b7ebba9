"""Step an optimizer of `recipe` by torch's fused kernel, which reads each value once and makes no temporary tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from ._memory_format import with_strides


def use_fused(optimizer: Optimizer) -> None:
    """Let an optimizer use torch's fused kernel, and prepare what the kernel does not check before each step."""
    for group in optimizer.param_groups:
        group["fused"] = True
    optimizer.register_step_pre_hook(_prepare)


def _prepare(optimizer: Optimizer, *_: Any) -> None:
    """Give the gradients the strides of the parameters, and make the momentum buffers of parameters that had no gradient.

    The kernel reads all tensors in the order of memory. It fails if some parameters have a buffer and others have none.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            parameter.grad = with_strides(parameter.grad, parameter.stride())
            state = optimizer.state[parameter]
            if group.get("momentum") and state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
