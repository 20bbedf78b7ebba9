"""An exponential moving average of a model's weights."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..nn import Net

Tensors = tuple[Tensor, ...] | list[Tensor]


class MovingAverage:
    """An exponential moving average of a model's parameters and buffers: `model` is the averaged copy.

    The first update copies the weights. Update n after it, counted from 1, uses the decay min(decay, (1 + n) / (10 + n)),
    TensorFlow's, so that the average of a short training is not that of its first steps. A training that version 0.1 began
    keeps its constant decay. Every update copies the buffers of integers: they are counters.
    """

    def __init__(self, model: Net, decay: float) -> None:
        self.decay, self.warmup = decay, True
        self._average = AveragedModel(model, multi_avg_fn=self._update, use_buffers=True)

    @property
    def model(self) -> Net:
        """The model with the averaged weights."""
        module: Any = self._average.module
        return cast("Net", module)

    def update(self, model: nn.Module) -> None:
        """Add the weights of the model to the average."""
        self._average.update_parameters(model)

    def _update(self, averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # the tensors have one dtype
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
            return
        n = int(count)
        decay = min(self.decay, (1 + n) / (10 + n)) if self.warmup else self.decay
        get_ema_multi_avg_fn(decay)(averages, values, n)  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the number of updates."""
        return {**self._average.state_dict(), **({"warmup": True} if self.warmup else {})}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Files of version 0.1 have no "warmup"."""
        state = dict(state_dict)
        self.warmup = state.pop("warmup", False)
        self._average.load_state_dict(state)
