"""Checks after an epoch: the weights and the outputs are finite."""

from __future__ import annotations

from ..errors import TrainingError
from ..evaluation import Result, Task
from ..nn import Net
from ..weights import find_invalid_values
from ._progress import Progress


def check_weights(model: Net, progress: Progress) -> None:
    """Check that the weights after an epoch can be saved and resumed.

    Raises:
        TrainingError: a weight is not finite, although every loss was.
    """
    if faults := find_invalid_values(model.state_dict()):
        raise TrainingError(
            f"the weights are invalid after epoch {progress.epoch}, with lr={progress.lr:.3g}, although each loss is finite: "
            f"{faults[0]}; use a smaller lr, or check that the gradient of your loss is finite"
        )


def check_outputs(result: Result, task: Task, epoch: int) -> None:
    """Check that the outputs for the validation data are finite.

    Raises:
        TrainingError: an output is not finite.
    """
    invalid = (~result.outputs.isfinite()).any(1).nonzero().flatten().tolist()
    if invalid:
        numbers = f"{invalid[:5]}" + ("" if task.ignore_index is None else ", not counting ignored targets")
        raise TrainingError(
            f"the outputs for {len(invalid)} of {len(result.outputs)} images of val are not finite after epoch {epoch}: images "
            f"{numbers}; check these images, or use a smaller lr if they are finite"
        )
