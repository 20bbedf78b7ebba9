"""Restore the memory format of a model's parameters after training in channels_last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def kept_memory_format(model: nn.Module) -> Iterator[None]:
    """Make the parameters that were contiguous before the block, and their gradients, contiguous after it."""
    parameters = [parameter for parameter in model.parameters() if parameter.is_contiguous()]
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.data = parameter.data.contiguous()
            if parameter.grad is not None:
                parameter.grad = parameter.grad.contiguous()
