"""Steps before an epoch: try the validation data, call `set_epoch` of samplers, set the mode of the optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ArgumentError, InputError
from ..evaluation import Batches, ShardedLoader, Task, evaluate_shards
from ..nn import Net
from ._generators import loader_generators, other_generators, samplers
from ._state import fork_rng


def try_first_batch(model: Net, val: ShardedLoader, task: Task, device: torch.device) -> bool:
    """Evaluate the first validation batch without the loss, and restore the random generators. Return False for an iterator.

    An error then comes before the first epoch. An iterator is not read, because it could not be rewound.

    Raises:
        ArgumentError: the batch or its targets are not what the task needs.
        InputError: the images are not what the model needs.
    """
    if isinstance(val.loader, Iterator):
        return False
    generators, others = loader_generators(val.loader), other_generators(val.loader).values()
    states, other_states = [one.get_state() for one in generators], [one.state_dict() for one in others]
    try:
        with fork_rng(device):
            shards = list(islice(val, 1))
            evaluate_shards(model, val, task, _no_loss, "val", shards=shards, stacklevel=5)  # the call of fit
    except (ArgumentError, InputError) as error:
        raise type(error)(f"val: {error}") from error
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        for other, other_state in zip(others, other_states, strict=True):
            other.load_state_dict(other_state)
    return True


def _no_loss(logits: Tensor, _: Tensor) -> Tensor:
    return logits.new_zeros(())


def set_epoch(loader: Batches, epoch: int) -> None:
    """Call `set_epoch(epoch)` of the loader, its samplers and its data set, where it is defined."""
    parts = (loader, *samplers(loader).values(), getattr(loader, "dataset", None))
    for part in {id(part): part for part in parts}.values():
        if callable(function := getattr(part, "set_epoch", None)):
            function(epoch)


@contextmanager
def training_mode(optimizer: Optimizer) -> Iterator[None]:
    """Call `train()` of an optimizer before the block and `eval()` after it, if it has both.

    Those of the schedulefree package keep other weights for training than for evaluation.
    """
    modes = [getattr(optimizer, name, None) for name in ("train", "eval")]
    has_modes = all(map(callable, modes))
    if has_modes:
        modes[0]()  # type: ignore[misc]
    try:
        yield
    finally:
        if has_modes:
            modes[1]()  # type: ignore[misc]
