"""Set the checked values of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, MismatchError
from ..nn import ClassifierHead, FeatureNet, Net


def check_tied(model: Net | FeatureNet, values: Mapping[str, Tensor], source_name: str) -> None:
    """Check that a tensor which the model has under several names gets the same values under each.

    Raises:
        MismatchError: it does not.
    """
    parameters, buffers = model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    names: dict[int, str] = {}
    for key, tensor in (*parameters, *buffers):
        first = names.setdefault(id(tensor), key)
        if key != first and first in values and key in values and not values[first].equal(values[key]):
            raise MismatchError(
                f"{source_name}: {first!r} and {key!r} differ and are one tensor in the model; load the weights before they "
                "are tied, or use weights of a model in which they are"
            )


def check_made(model: Net | FeatureNet, keys: Iterable[str], source_name: str) -> None:
    """Check that `_fill_heads` initialises the tensors `keys`, which are on the meta device and have no values in the source.

    Raises:
        ArgumentError: it does not: they belong to a head of the user's own.
    """
    heads = {name: head for name, head in model.named_modules() if isinstance(head, ClassifierHead)}
    made = {f"{name}.hidden." for name in heads}
    made |= {f"{name}.fc." for name, head in heads.items() if isinstance(head.fc, nn.Linear)}
    for key in keys:
        if not key.startswith(tuple(made)):
            raise ArgumentError(
                f"{key} is on the meta device, and {source_name} has no value for it; call model.head.to_empty(device='cpu') "
                "and initialise your head first"
            )


def assign_values(model: Net | FeatureNet, values: Mapping[str, Tensor], state: Mapping[str, Tensor], *, copy: bool) -> None:
    """Copy checked values into the model; on the meta device, make them the model's tensors (copies of them with `copy`)."""
    if meta := {key: value for key, value in values.items() if state[key].is_meta}:
        copies = {key: value.clone(memory_format=torch.contiguous_format) for key, value in meta.items()} if copy else meta
        model.load_state_dict(copies, strict=False, assign=True)
    model.load_state_dict({key: value for key, value in values.items() if key not in meta}, strict=False)
    _fill_heads(model)


def _fill_heads(model: Net | FeatureNet) -> None:
    """Initialise the layers of heads that are still on the meta device, on the CPU."""
    for head in [module for module in model.modules() if isinstance(module, ClassifierHead)]:
        for layers, initialise in ((head.hidden, head.reset_hidden), (head.fc, head.reset_classifier)):
            if isinstance(layers, nn.Module) and any(value.is_meta for value in layers.parameters()):
                layers.to_empty(device="cpu")
                initialise()
