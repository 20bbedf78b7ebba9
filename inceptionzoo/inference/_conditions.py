"""Conditions under which a fused model must run by torch's own operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..kernels import is_kernel_input


class ChangedLayoutError(Exception):  # the executor catches it
    """A torch function returned a map that a program cannot use, or of another layout than when the program was recorded."""


def must_use_torch(x: Tensor, dims: int = 2) -> bool:
    """Return whether operations on x, (n, c, h, w), or with `dims=1` (n, c, length), must run by torch.

    This is the case if kernels cannot read x, or if operations on it are observed or recorded for a gradient.
    """
    return not is_kernel_input(x, dims) or (x.requires_grad and torch.is_grad_enabled())


def is_frozen(tensor: Tensor) -> bool:
    """Return whether a tensor is a plain one that needs no gradient and counts its changes.

    A tensor of a subclass, for example a quantised one, may have other values than its memory. Tensors made in inference mode
    do not count their changes.
    """
    return type(tensor) in (Tensor, nn.Parameter) and not (tensor.requires_grad or tensor.is_inference())


def has_frozen_values(layer: Any) -> bool:
    """Return whether the weight and the bias of a layer are frozen; the bias may be None."""
    return all(tensor is None or is_frozen(tensor) for tensor in (layer.weight, layer.bias))
