"""Fused optimizers of torch, which read each value once and make no temporary tensors."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from ._memory_format import with_strides


def use_fused(optimizer: Optimizer) -> None:
    """Let an optimizer step by torch's fused kernel."""
    for group in optimizer.param_groups:
        group["fused"] = True


def prepare_fused_step(optimizer: Optimizer) -> None:
    """Give the gradients the strides of the parameters, and make the momentum buffers of parameters that had no gradient.

    A fused kernel reads all tensors in the order of memory and does not check it. That of SGD fails if some parameters have a
    buffer and others have none.
    """
    for group in optimizer.param_groups:
        if not group.get("fused"):
            continue
        has_buffers = group.get("momentum") and not group.get("dampening")  # with dampening, the first buffer would be another
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            parameter.grad = with_strides(parameter.grad, parameter.stride())
            if has_buffers and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
