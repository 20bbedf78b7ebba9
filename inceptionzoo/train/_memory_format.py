"""Restore the memory format of a model's parameters after training in channels_last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def kept_memory_format(model: nn.Module) -> Iterator[None]:
    """Give the parameters, and their gradients, the strides after the block that the parameters had before it.

    The strides of sides of length one are restored too: torch chooses the algorithm of a 1x1 convolution by them.
    """
    strides = [(parameter, parameter.stride()) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, stride in strides:
            parameter.data = _with_strides(parameter.data, stride)
            if parameter.grad is not None:
                parameter.grad = _with_strides(parameter.grad, stride)


def _with_strides(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Return x, or a copy with these strides if it has others."""
    return x if x.stride() == stride else torch.empty_strided(x.shape, stride, dtype=x.dtype, device=x.device).copy_(x)
