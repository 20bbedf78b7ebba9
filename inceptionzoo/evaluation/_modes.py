"""Put a model into evaluation mode for a while, also in several threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock

import torch
from torch import nn

from ..nn import is_sharded


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, without gradients, and restore the mode of every module afterwards.

    Several threads may use one model: the modes are restored when the last one leaves.
    """
    with eval_mode(model), without_gradients(model):
        yield


def without_gradients(model: nn.Module) -> AbstractContextManager[None]:
    """Return torch's inference mode, or `no_grad` for a sharded model: its hooks do not run in inference mode."""
    return torch.no_grad() if is_sharded(model) else torch.inference_mode()


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and restore the mode of every module in it afterwards."""
    with _MODES_LOCK:
        users, modes = _MODES.get(module) or (0, [(one, one.training) for one in module.modules()])
        _MODES[module] = users + 1, modes
        module.eval()
    try:
        yield
    finally:
        with _MODES_LOCK:
            users, modes = _MODES.pop(module)
            if users > 1:
                _MODES[module] = users - 1, modes
            else:
                _restore(modes)


_MODES: dict[nn.Module, tuple[int, list[tuple[nn.Module, bool]]]] = {}  # of the models in use: threads, and modes before
_MODES_LOCK = Lock()


def _restore(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, mode in modes:  # parents come before their children
        if module.training is not mode:
            module.train(mode)
