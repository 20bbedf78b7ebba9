"""Continue a training from its saved state."""

from __future__ import annotations

import warnings

from ..errors import ArgumentError
from ._recipe import set_rates
from ._state import State, worker_counts
from ._trainer import Trainer


def resume(trainer: Trainer, state: State | None) -> None:
    """Restore the state of a training, if there is one, and warn if the training is complete or will draw other random numbers.

    Raises:
        ArgumentError: some ranks have a state and some have none, or an object does not take its state.
    """
    config, context = trainer.config, trainer.context
    if context.all_reduce(state is not None)[0] not in (0, context.world_size):
        raise ArgumentError(f"out={str(config.out)!r} must be a folder that all ranks share, and it is not")
    if state is None:
        return
    state.restore(trainer.stateful, config.loaders, trainer.device)
    trainer.history.epochs = state.rows
    if trainer.is_complete:
        text = f"{config.out} holds this training, and it is complete; pass resume=False to train again"
        warnings.warn(text, stacklevel=4)  # the call of fit
        return
    if state.epochs != config.epochs:
        _change_epochs(trainer, state.epochs)
    workers = worker_counts(config.loaders)
    if state.workers not in (None, workers):
        warnings.warn(
            f"{config.out} holds a training whose loaders had num_workers={state.workers}, and now they have {workers}: if the "
            "data sets draw random numbers, a resumed training has the same bits only with the same number of workers",
            stacklevel=4,  # the call of fit
        )


def _change_epochs(trainer: Trainer, before: int) -> None:
    """Continue a training that was to have another number of epochs, and warn about it."""
    config = trainer.config
    text = f"{config.out} holds {len(trainer.history.epochs)} epochs of a training with epochs={before}; it continues to "
    text += f"epochs={config.epochs}"
    if config.own_optimizer is None and trainer.stepper.schedule is not None:
        set_rates(trainer.stepper.schedule.scheduler)
        text += ", with the learning rates of the cosine for that number"
    warnings.warn(f"{text}; pass resume=False to start again", stacklevel=5)  # the call of fit
