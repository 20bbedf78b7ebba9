"""Activation checkpointing that does not change the running statistics of batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from ._blocks import BATCH_NORMS
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

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_statistics(stage)

    y, *maps = torch_checkpoint(run, x, use_reentrant=False, context_fn=contexts)
    if pre_act is not None:
        pre_act += maps
    result: Tensor = y
    return result


@contextmanager
def frozen_statistics(stage: nn.Module) -> Iterator[None]:
    """Keep running statistics and batch counters unchanged while `stage` runs again in training mode."""
    norms = [module for module in stage.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]
    saved = [(module.momentum, module.num_batches_tracked) for module in norms]
    for module in norms:
        module.momentum, module.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for module, (momentum, counter) in zip(norms, saved, strict=True):
            module.momentum, module.num_batches_tracked = momentum, counter
