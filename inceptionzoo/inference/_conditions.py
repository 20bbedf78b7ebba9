"""Conditions under which a fused model must run by torch's own operations."""

from __future__ import annotations

import torch
from torch import Tensor

from ..nn import is_tracing, private_torch


class ChangedLayoutError(Exception):  # the executor catches it
    """A torch function returned a map that a program cannot use, or of another layout than when the program was recorded."""


def must_use_torch(x: Tensor, dims: int = 2) -> bool:
    """Return whether operations on x must run by torch.

    This is the case if x is anything but a plain float32 tensor on the CPU, (n, c, h, w), or with `dims=1` (n, c, length), or
    if operations are traced, transformed, observed, autocast or recorded for a gradient.
    """
    return bool(
        type(x) is not Tensor
        or x.dtype != torch.float32
        or x.device.type != "cpu"
        or x.layout != torch.strided
        or dims > 2
        or x.ndim != dims + 2
        or not x.numel()
        or x.is_neg()  # its memory holds the negated values
        or is_tracing()
        or not torch.backends.mkldnn.enabled
        or torch.is_autocast_enabled("cpu")
        or private_torch.observation_check()()
        or (x.requires_grad and torch.is_grad_enabled())
    )


def is_frozen(tensor: Tensor) -> bool:
    """Return whether a tensor needs no gradient and has a version counter; tensors made in inference mode have none."""
    return not (tensor.requires_grad or tensor.is_inference())
