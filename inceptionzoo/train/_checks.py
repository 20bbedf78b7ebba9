"""Checks of the model and the loaders that `fit` gets."""

from __future__ import annotations

from ..errors import ArgumentError
from ..evaluation import Batches, check_loader, length_or_none, reads_once
from ..nn import Net, check_has_values, is_sharded, require_net
from ..weights import find_invalid_values


def check_model(name: str, model: object) -> None:
    """Check that a model can be trained.

    Raises:
        ArgumentError: it is not one of this library, has no output, no values, or sharded ones, or is fused.
    """
    model = require_net(model, "fit")
    if not model.num_classes:
        raise ArgumentError(f"{name}: num_classes=0 leaves nothing to predict; call reset_classifier(num_classes) first")
    check_has_values(model)
    if model.fused:
        raise ArgumentError(f"{name} is fused, which is for evaluation only; train the model that it was made from")
    if is_sharded(model):
        raise ArgumentError(
            f"{name} has sharded parameters (DTensor), which fit does not train; pass it without fully_shard, or write the "
            "loop with Losses and recipe"
        )


def check_batches(name: str, loader: object) -> None:
    """Check that a loader can be iterated over and does not say that it is empty.

    Raises:
        ArgumentError: it cannot, or does.
    """
    check_loader(name, loader)
    if length_or_none(loader) == 0:
        raise ArgumentError(f"{name} has no batch; a DataLoader with drop_last=True needs a whole batch of images")


def check_passes(epochs: int, train: Batches, val: Batches | None) -> None:
    """Check that the loaders can be read once an epoch.

    Raises:
        ArgumentError: one can be read only once, and there are several epochs.
    """
    for name, loader in (("train", train), ("val", val)):
        if epochs > 1 and reads_once(loader):
            raise ArgumentError(
                f"{name} is a {type(loader).__name__}, which can be read only once, and epochs={epochs}; pass a DataLoader or "
                "a list"
            )


def check_values(model: Net) -> None:
    """Check that the weights are finite.

    Raises:
        ArgumentError: one is not.
    """
    if faults := find_invalid_values(model.state_dict()):
        raise ArgumentError(f"model: {faults[0]}; load other weights")
