"""Conditions under which kernels can replace operations of torch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..nn import is_tracing, private_torch


def is_kernel_input(x: Tensor, dims: int = 2) -> bool:
    """Return whether kernels can read x, (n, c, h, w), or with `dims=1` (n, c, length).

    They read plain float32 tensors on the CPU, unless the operations are traced, transformed, observed or autocast.
    """
    return not (
        is_tracing()  # first, because torch.compile cannot trace all of the others
        or type(x) is not Tensor
        or x.dtype != torch.float32
        or x.device.type != "cpu"
        or x.layout != torch.strided
        or dims > 2
        or x.ndim != dims + 2
        or not x.numel()
        or x.is_neg()  # its memory holds the negated values
        or not torch.backends.mkldnn.enabled
        or torch.is_autocast_enabled("cpu")
        or private_torch.observation_check()()
    )
