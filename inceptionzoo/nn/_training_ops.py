"""What replaces torch's modules in a training step."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class TrainingOps(Protocol):
    """Operations that give what a module gives, to the last few bits, and call it where they cannot replace it."""

    def convolve(self, conv: nn.Module, x: Tensor) -> Tensor:
        """Return `conv(x)`."""
        ...


def set_training_ops(model: nn.Module, operations: TrainingOps | None) -> None:
    """Let the blocks of a model run in training mode by these operations, or with None by their modules."""
    for module in model.modules():
        if hasattr(module, "training_ops"):
            module.training_ops = operations  # type: ignore[assignment]  # torch expects a tensor or module
