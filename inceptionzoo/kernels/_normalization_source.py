"""What the output of a batch normalisation was computed from, so that an operation that needs it can compute it again."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from ..nn import private_torch

ATTRIBUTE = "_normalization_source"  # of a tensor


class NormalizationSource(NamedTuple):
    """The operands of y = relu(batch normalisation of x), and the vectors of `_batch_norm.BatchNormReLUFunction`."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    vectors: Tensor
    eps: float

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()  # a file or a copy of y holds none of the operands


def set_source(y: Tensor, source: NormalizationSource) -> None:
    """Let the output y know its source, if a backward pass may follow."""
    if y.requires_grad:
        setattr(y, ATTRIBUTE, (private_torch.tensor_version(y), source))


def find_source(y: Tensor) -> NormalizationSource | None:
    """Return what y was computed from; None if it is no output of a batch normalisation by kernels, or was changed since."""
    found: Any = getattr(y, ATTRIBUTE, None)
    if found is None or found[0] != private_torch.tensor_version(y):
        return None
    return found[1] if isinstance(found[1], NormalizationSource) else None
