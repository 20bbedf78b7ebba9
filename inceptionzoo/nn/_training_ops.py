"""What replaces torch's modules in a training step."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class TrainingOps(Protocol):
    """Operations that give what a module gives, to the last few bits, and call it where they cannot replace it."""

    def convolve(self, conv: nn.Module, x: Tensor) -> Tensor:
        """Return `conv(x)`."""
        ...

    def normalizes(self, bn: nn.Module | None, act: nn.Module | None, x: Tensor) -> bool:
        """Return whether `normalize_relu` can replace `act(bn(x))`."""
        ...

    def normalize_relu(self, bn: nn.Module | None, x: Tensor) -> Tensor:
        """Return relu(bn(x))."""
        ...

    def max_pool(self, pool: nn.MaxPool2d, x: Tensor) -> Tensor:
        """Return `pool(x)`, for which a backward pass keeps less than torch."""
        ...


def set_training_ops(model: nn.Module, operations: TrainingOps | None) -> None:
    """Let the blocks of a model run in training mode by these operations, or with None by their modules."""
    for module in model.modules():
        if hasattr(module, "training_ops"):
            module.training_ops = operations  # type: ignore[assignment]  # torch expects a tensor or module
