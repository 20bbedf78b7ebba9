"""A warning about a model that ends with softmax or sigmoid: its outputs are taken for logits."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from ._task import Task

SUM_TOLERANCE = 1e-3  # of the sum of probabilities; small, so that logits are not taken for them


def warn_of_probabilities(model: nn.Module, logits: Tensor, task: Task, stacklevel: int) -> None:
    """Warn if the outputs (n, outputs) of a batch are probabilities: rows that sum to 1, or those of a Sigmoid at the end."""
    if task.name == "regression" or not bool(((logits >= 0) & (logits <= 1)).all()):
        return
    is_softmax = logits.shape[1] > 1 and bool(((logits.float().sum(1) - 1).abs() < SUM_TOLERANCE).all())
    last = [module for module in model.modules() if not list(module.children())][-1]
    if is_softmax or isinstance(last, nn.Sigmoid):
        warnings.warn(
            f"the model seems to return probabilities of a {'softmax' if is_softmax else 'sigmoid'}, but logits are expected, "
            "so that it is applied twice; remove it from the model",
            stacklevel=stacklevel,
        )
