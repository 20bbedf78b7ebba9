"""torch's channels_last memory format, which only the weights of convolutions in two dimensions can have."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def to_channels_last(model: M) -> M:
    """Convert the weights in place, and return the model. A model of one or three dimensions keeps its format."""
    is_3d = any(parameter.ndim == 5 for parameter in model.parameters())  # torch refuses to convert these
    return model if is_3d else model.to(memory_format=torch.channels_last)
