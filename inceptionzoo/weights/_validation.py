"""Refuse values that do not belong in a model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Parameter

from ..errors import ArgumentError, MismatchError


def check_materialized(state: Mapping[str, Tensor]) -> None:
    """Check that a model's state has values.

    Raises:
        ArgumentError: some of it is on the meta device.
    """
    if any(tensor.is_meta for tensor in state.values()):
        raise ArgumentError("the model is on the meta device and holds no weights; load or create them first")


def require_dense(name: str, value: Tensor) -> Tensor:
    """Return the tensor alone, without the attributes that a file may have hung on it.

    Raises:
        MismatchError: it is no dense tensor of numbers in memory: lazy, sparse, nested, quantized, functional, on meta, or
            of a class of its own.
    """
    kind = "" if type(value) in (Tensor, Parameter) else f"a {type(value).__name__}"
    if not kind:
        value = Tensor.detach(value)  # a new object, with nothing of the file's on it
        kinds = {
            "a functional tensor": torch._is_functional_tensor(value),
            "a nested tensor": value.is_nested,
            f"a quantized tensor ({value.dtype})": value.is_quantized,
            "one on meta": value.is_meta,
            str(value.layout): value.layout is not torch.strided,
        }
        kind = next((name for name, found in kinds.items() if found), "")
    if kind:
        raise MismatchError(f"{name}: must be a plain dense tensor with values, not {kind}; save it as one")
    return value


def adapt_tensor(key: str, theirs: str, value: Tensor, target: Tensor, *, first: bool = False) -> tuple[Tensor, str]:
    """Return `value` in the shape and dtype of `target`, and what that took ("" where it fits as it is).

    A hidden layer of a head may be dense on one side and a convolution on the other. The `first` convolution may be for
    another number of input channels. Floating point is cast to floating point; nothing else is cast.

    Raises:
        MismatchError: shape or kind differs, or the tensor claims more elements than it holds.
    """
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        raise MismatchError(f"{theirs}: claims {tuple(value.shape)} and holds less (an expanded tensor); save it contiguous")
    steps = []
    if first and _other_input(value, target):
        steps.append(f"in_chans {value.shape[1]} to {target.shape[1]}")
        value = adapt_input(value, target.shape[1])
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


def _other_input(value: Tensor, target: Tensor) -> bool:
    """Return whether a kernel is for three input channels, and the target the same kernel for another number."""
    if value.ndim != 4 or target.ndim != 4 or value.shape[1] != 3 or target.shape[1] == 3 or not value.is_floating_point():
        return False
    return value.shape[0] == target.shape[0] and value.shape[2:] == target.shape[2:]


def adapt_input(kernel: Tensor, in_chans: int) -> Tensor:
    """Return a kernel of three input channels for `in_chans`, by timm's rule: (out, 3, h, w) -> (out, in_chans, h, w).

    For one channel the three are summed; for others they are repeated in turn and scaled by 3 / in_chans, so that the
    output keeps its size.
    """
    whole = kernel.float()
    if in_chans == 1:
        return whole.sum(1, keepdim=True).to(kernel.dtype)
    return (whole.repeat(1, -(-in_chans // 3), 1, 1)[:, :in_chans] * (3 / in_chans)).to(kernel.dtype)


def fold_input(kernel: Tensor, *, bgr: bool, scale: float) -> Tensor:
    """Return the kernel of a first convolution for images in red, green, blue and of values `scale` times smaller.

    Exact but for one rounding. A mean cannot be folded so: zeros that pad the border would not be what they were.
    """
    ordered = kernel.flip(1) if bgr else kernel
    return (ordered.double() * scale).to(kernel.dtype)


def find_invalid_values(values: Mapping[str, Tensor]) -> list[str]:
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
