"""Activation checkpointing that does not change the running statistics of batch normalisation."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from ._layers import BATCH_NORMS
from ._pre_activation import run_with_pre_act


def checkpoint(stage: nn.Module, x: Tensor, pre_act: list[Tensor] | None = None) -> Tensor:
    """Return `stage(x)`; its intermediate maps are recomputed in the backward pass.

    The map before the stage's last activation is appended to `pre_act`, if it is a list.
    """

    def run(x: Tensor) -> list[Tensor]:
        x = x.view_as(x)  # which knows nothing of its source: x, which is kept anyway, may lose it before it runs again
        maps: list[Tensor] = []
        y = stage(x) if pre_act is None else run_with_pre_act(stage, x, maps)
        return [y, *maps]

    def contexts() -> tuple[nullcontext[None], FrozenStatistics]:
        return nullcontext(), FrozenStatistics(stage)

    if torch.compiler.is_compiling():  # compiled code updates the statistics once; torch.compile refuses `contexts`
        y, *maps = torch_checkpoint(run, x, use_reentrant=False)
    else:
        y, *maps = torch_checkpoint(run, x, use_reentrant=False, context_fn=contexts)
    if pre_act is not None:
        pre_act += maps
    result: Tensor = y
    return result


class FrozenStatistics:
    """A context that keeps running statistics and batch counters unchanged while `stage` runs again in training mode.

    It may be entered again: each backward pass through the same forward pass runs `stage` again.
    """

    def __init__(self, stage: nn.Module) -> None:
        self.norms = [module for module in stage.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]
        self.saved: list[tuple[float | None, Tensor | None]] = []

    def __enter__(self) -> None:
        self.saved = [(module.momentum, module.num_batches_tracked) for module in self.norms]
        for module in self.norms:
            module.momentum, module.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for module, (momentum, counter) in zip(self.norms, self.saved, strict=True):
            module.momentum, module.num_batches_tracked = momentum, counter
