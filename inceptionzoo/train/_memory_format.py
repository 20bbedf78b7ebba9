"""Restore the memory format of a model's parameters after training in channels_last, and keep that of an optimizer's state.

torch's fused optimizers read a parameter, its gradient and its state in the order of memory, and do not check that the order is
the same. With other strides they compute wrong values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def match_memory_format(optimizer: Optimizer) -> None:
    """Give the tensors of the optimizer's state the strides of their parameters."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if type(value) is Tensor and value.shape == parameter.shape:  # no quantised subclass
                state[name] = with_strides(value, parameter.stride())


@contextmanager
def kept_memory_format(model: nn.Module, optimizer: Optimizer | None) -> Iterator[None]:
    """Restore the strides of the parameters after the block, also in their gradients and in the state of the optimizer.

    The strides of sides of length one are restored too: torch chooses the algorithm of a 1x1 convolution by them.
    """
    strides = [(parameter, parameter.stride()) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, stride in strides:
            parameter.data = with_strides(parameter.data, stride)
            if parameter.grad is not None:
                parameter.grad = with_strides(parameter.grad, stride)
        if optimizer is not None:
            match_memory_format(optimizer)


def with_strides(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Return x, or a copy with these strides if it has others."""
    return x if x.stride() == stride else torch.empty_strided(x.shape, stride, dtype=x.dtype, device=x.device).copy_(x)
