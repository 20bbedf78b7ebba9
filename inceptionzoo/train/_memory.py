"""Estimate the memory of a training step, without running it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

from ..errors import InputError, check_int, plain_int
from ..nn import Net, require_net
from ._losses import is_single_value
from ._modes import freeze_batch_norm


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The memory of a training step in bytes, by what it is for.

    - `weights`: parameters and buffers.
    - `gradients`: of the parameters that are trained.
    - `optimizer`: the optimizer's state, and the moving average of the weights if there is one.
    - `maps`: what is kept of a batch's feature maps for the backward pass.
    """

    weights: int
    gradients: int
    optimizer: int
    maps: int

    @property
    def total(self) -> int:
        """The sum. A training needs more: torch's libraries, the images, and room for temporary tensors."""
        return self.weights + self.gradients + self.optimizer + self.maps


def estimate_memory(model: Net, batch_size: int, *, states: int = 1) -> MemoryEstimate:
    """Return the memory that a training step needs for a batch of `batch_size` images of the model's input size.

    Nothing is allocated: the forward pass runs on torch's meta device. `states` is the number of tensors that are kept for each
    trained parameter besides its gradient: 1 for SGD with momentum, 2 for Adam, and one more for a moving average.

    Raises:
        ArgumentError: `model` is not a model of this library, or a number is out of range.
    """
    require_net(model, "estimate_memory")
    batch_size, states = plain_int(batch_size), plain_int(states)
    check_int("batch_size", batch_size, 1)
    check_int("states", states, 0)
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    shape = batch_size, model.in_chans, *model.data.size
    return MemoryEstimate(weights, trained, states * trained, _saved_bytes(_on_meta(model).train(), shape))


def _on_meta(model: Net) -> Net:
    """Return a copy of the model without values."""
    memo: dict[int, Any] = {id(model.network): model.network}
    for tensor in (*model.parameters(), *model.buffers()):
        empty = tensor.detach().to("meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(model, memo)


def _storage_key(tensor: Tensor) -> int:
    """Return a number that tensors with the same memory share, also on the meta device, which has no addresses."""
    return int(StorageWeakRef(tensor.untyped_storage()).cdata)  # type: ignore[no-untyped-call]  # torch's own


def _saved_bytes(model: Net, shape: tuple[int, ...]) -> int:
    """Return the bytes of the tensors that autograd keeps after a forward pass of a model on the meta device."""
    try:
        saved = _saved_tensors(model, shape)
    except InputError as error:
        if not is_single_value(error, shape[0]):
            raise
        with freeze_batch_norm(model):  # as `fit` trains such a batch
            saved = _saved_tensors(model, shape)
    own = {_storage_key(tensor) for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in own)


def _saved_tensors(model: Net, shape: tuple[int, ...]) -> dict[int, Tensor]:
    """Return the tensors that autograd keeps, by storage, so that a tensor that several operations keep counts once."""
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[_storage_key(tensor)] = tensor
        return tensor

    parameter = next(model.parameters())
    images = torch.empty(shape, dtype=parameter.dtype, device="meta")
    images = images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(images)
    del output
    return saved
