"""Checks of an optimizer of the user: whether `fit` can step it, and whether it holds the model's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Collection

from torch import Tensor, nn
from torch.optim import Optimizer, SparseAdam

from ..errors import ArgumentError
from ..nn import Net


def check_optimizer(name: str, optimizer: object) -> None:
    """Check that `fit` can step an optimizer. A name passes: `check_recipe` checks it.

    Raises:
        ArgumentError: it is not an optimizer, or its step needs more than gradients.
    """
    if isinstance(optimizer, str):
        return
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"{name}={optimizer!r} must be 'sgd', 'adamw' or an optimizer of torch.optim for the model's parameters"
        )
    kind = type(optimizer).__name__
    parameters = list(inspect.signature(type(optimizer).step).parameters.values())[1:]
    if any(one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters):
        raise ArgumentError(
            f"{name}: {kind} calls a closure several times in a step, and fit computes each batch once; use an optimizer whose "
            "step needs no argument, such as SGD or AdamW"
        )
    if isinstance(optimizer, SparseAdam):
        raise ArgumentError(f"{name}: {kind} needs sparse gradients, and the model's are dense; use Adam or AdamW")


def check_trainable(model: Net, optimizer: Optimizer | None, loss: object, frozen: Collection[Tensor]) -> None:
    """Check that the optimizer holds every trainable parameter, and no other model's.

    Parameters that are in `frozen` or have `requires_grad=False` need not be in the optimizer. Trainable
    parameters of the loss must be in an optimizer that the caller passes.

    Raises:
        ArgumentError: a parameter is missing or of another model, or none is trainable.
    """
    excluded = set(map(id, frozen))
    trainable = {name: one for name, one in model.named_parameters() if one.requires_grad and id(one) not in excluded}
    if not trainable:
        raise ArgumentError("model has no parameter to train: each is frozen or has requires_grad=False; unfreeze some")
    of_loss = dict(loss.named_parameters()) if isinstance(loss, nn.Module) else {}
    learned = {name: one for name, one in of_loss.items() if one.requires_grad}
    if optimizer is None:
        if learned:
            raise ArgumentError(f"loss: {type(loss).__name__} has parameters to train, {_listed(list(learned))}; {_OF_LOSS}")
        return
    held = {id(parameter): parameter for group in optimizer.param_groups for parameter in group["params"]}
    if missing := [name for name, parameter in trainable.items() if id(parameter) not in held]:
        raise ArgumentError(
            f"optimizer: {type(optimizer).__name__} does not hold {_listed(missing)}; make it from model.parameters() after "
            "reset_classifier, with_aux and other changes of the model, or freeze what it must not train: requires_grad_(False)"
        )
    if missing := [name for name, parameter in learned.items() if id(parameter) not in held]:
        raise ArgumentError(
            f"optimizer: {type(optimizer).__name__} does not hold {_listed(missing)} of loss={type(loss).__name__}; {_OF_LOSS}"
        )
    known = {id(parameter) for parameter in (*model.parameters(), *of_loss.values())}
    if foreign := [str(tuple(parameter.shape)) for key, parameter in held.items() if key not in known]:
        raise ArgumentError(
            f"optimizer: {type(optimizer).__name__} holds parameters that are not the model's, of shape {_listed(foreign)}; "
            "make it from model.parameters() after reset_classifier, with_aux and other changes of the model"
        )


_OF_LOSS = (
    "pass an optimizer of [*model.parameters(), *loss.parameters()], or freeze those of the loss: loss.requires_grad_(False)"
)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
