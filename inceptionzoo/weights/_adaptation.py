"""Change a tensor's shape, dtype or input channels so that it fits a model."""

from __future__ import annotations

from torch import Tensor

from ..errors import MismatchError
from ._validation import is_expanded


def adapt_tensor(key: str, name: str, value: Tensor, target: Tensor, *, is_input: bool = False) -> tuple[Tensor, str]:
    """Return `value` in the shape and dtype of `target`, and a description of the changes ("" if there are none).

    `key` is the model's name of the tensor, and `name` the source's. Four changes are possible: a hidden layer of a head is
    reshaped between dense and convolution; the kernel of the first convolution (`is_input`) is changed from three input
    channels to another number; a matrix becomes a 1x1 kernel, as which some files of Xception hold it; a floating-point tensor
    is cast to another floating-point dtype.

    Raises:
        MismatchError: another change is needed, or the tensor has more elements than its storage (it is expanded).
    """
    if is_expanded(value):
        raise MismatchError(
            f"{name}: its shape {tuple(value.shape)} has more elements than are stored (an expanded tensor); save it contiguous"
        )
    changes = []
    if is_input and _differs_in_input_channels(value, target):
        changes.append(f"in_chans {value.shape[1]} to {target.shape[1]}")
        value = adapt_input_channels(value, target.shape[1])
    if value.ndim == 2 and key.endswith(".conv.weight") and target.shape == (*value.shape, *(1,) * (target.ndim - 2)):
        value = value.reshape(target.shape)
        changes.append("a matrix to a 1x1 kernel")
    if value.shape != target.shape:
        hidden = key.startswith("head.hidden.") and value.ndim > 1 and value.shape[0] == target.shape[0]
        if not (hidden and value.numel() == target.numel() and min(value.ndim, target.ndim) == 2):
            is_2d = value.ndim == 4 and target.ndim == 5
            remedy = "; load the weights into the model for images, and call inflate(model, length=...)" if is_2d else ""
            raise MismatchError(f"{name}: shape {tuple(value.shape)} must be {tuple(target.shape)}{remedy}")
        value = value.reshape(target.shape)
        changes.append("dense and convolution exchanged")
    if value.dtype != target.dtype:
        if not (value.is_floating_point() and target.is_floating_point()):
            raise MismatchError(f"{name}: dtype {value.dtype} must be {target.dtype}; cast it yourself if this is intended")
        changes.append(f"cast from {value.dtype} to {target.dtype}")
        value = value.to(target.dtype)
    return value, ", ".join(changes)


def as_dense(value: Tensor) -> Tensor:
    """Return the weight of a classifier as a dense layer's: (out, in, 1, 1, ...), of a convolution, becomes (out, in)."""
    return value.flatten(1) if value.ndim > 2 and set(value.shape[2:]) == {1} else value


def unflatten(value: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return the weight of a dense layer for a map flattened as (c, h, w): (out, h * w * c) -> (out, c * h * w).

    `shape` is the (c, h, w) of the map. A value of another size is returned unchanged; its shape is an error later.
    """
    channels, height, width = shape
    if value.ndim != 2 or value.shape[1] != channels * height * width:
        return value
    return value.reshape(-1, height, width, channels).permute(0, 3, 1, 2).reshape(len(value), -1)


def flatten_channels_last(value: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return the weight of a dense layer for a map flattened as (h, w, c): the inverse of `unflatten`."""
    return value.reshape(-1, *shape).permute(0, 2, 3, 1).reshape(len(value), -1)


def _differs_in_input_channels(value: Tensor, target: Tensor) -> bool:
    """Return whether a kernel for three input channels becomes the target's shape when only that number is changed."""
    if min(value.ndim, target.ndim) < 3 or value.shape[1] != 3 or target.shape[1] == 3 or not value.is_floating_point():
        return False
    return value.shape[0] == target.shape[0] and value.shape[2:] == target.shape[2:]


def adapt_input_channels(kernel: Tensor, in_chans: int) -> Tensor:
    """Change a kernel from three input channels to `in_chans`, by timm's rule: (out, 3, h, w) -> (out, in_chans, h, w).

    For one channel the three are summed. For more, they are repeated in turn and scaled by 3 / in_chans, so that the output
    keeps its scale.
    """
    wide = kernel.float()
    if in_chans == 1:
        return wide.sum(1, keepdim=True).to(kernel.dtype)
    return (wide.repeat(1, -(-in_chans // 3), *(1,) * (wide.ndim - 2))[:, :in_chans] * (3 / in_chans)).to(kernel.dtype)


def fold_input(kernel: Tensor, *, bgr: bool, scale: float) -> Tensor:
    """Return the first convolution's kernel for RGB images with values `scale` times smaller than those of its training.

    `bgr` says that its training images had the channel order blue, green, red. The result is exact up to one rounding. A mean
    cannot be folded in the same way, because the zeros that pad the border would need another value.
    """
    ordered = kernel.flip(1) if bgr else kernel
    return (ordered.double() * scale).to(kernel.dtype)
