"""Refuse values that do not belong in a model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ..errors import MismatchError


def fit_value(key: str, theirs: str, value: Tensor, target: Tensor) -> tuple[Tensor, str]:
    """Return `value` in the shape and dtype of `target`, and what that took ("" where it fits as it is).

    A hidden layer of a head may be dense on one side and a convolution on the other. Floating point is cast to floating
    point; nothing else is cast.

    Raises:
        MismatchError: shape or kind differs, or the tensor claims more elements than it holds.
    """
    if is_lazy(value) or value.layout is not torch.strided or value.is_meta or value.is_quantized:
        raise MismatchError(f"{theirs}: must be a plain dense tensor with values, not {value.layout} on {value.device}")
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        raise MismatchError(f"{theirs}: claims {tuple(value.shape)} and holds less (an expanded tensor); save it contiguous")
    steps = []
    if value.shape != target.shape:
        dense = key.startswith("head.hidden.") and value.ndim > 1 and value.shape[0] == target.shape[0]
        if not (dense and value.numel() == target.numel() and {value.ndim, target.ndim} == {2, 4}):
            raise MismatchError(f"{theirs}: shape {tuple(value.shape)} must be {tuple(target.shape)}")
        value = value.reshape(target.shape)
        steps.append("dense and convolution exchanged")
    if value.dtype != target.dtype:
        if not (value.is_floating_point() and target.is_floating_point()):
            raise MismatchError(f"{theirs}: dtype {value.dtype} must be {target.dtype}; cast it yourself if that is meant")
        before = value
        value = value.to(target.dtype)
        steps.append(f"cast from {before.dtype} to {target.dtype}")
    return value, ", ".join(steps)


def check_values(values: Mapping[str, Tensor]) -> list[str]:
    """Return what is wrong with the values: not finite (also after a cast), or a variance or a counter below 0."""
    faults = []
    for key, value in values.items():
        if not value.numel():
            continue
        low, high = torch.aminmax(value.detach())
        if not (torch.isfinite(low) and torch.isfinite(high)):
            faults.append(f"{key}: all values must be finite (least {low.item()}, largest {high.item()})")
        elif key.endswith(("running_var", "num_batches_tracked")) and low < 0:
            faults.append(f"{key}: no value may be negative (least {low.item()})")
    return faults
