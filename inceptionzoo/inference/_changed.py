"""Models that were changed after they were built: which changes a fused copy keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..errors import ArgumentError
from ..nn import Backbone, Change, describe_changes, list_changes


def networks(model: nn.Module) -> list[Backbone[Any]]:
    """Return the networks in a module of any kind."""
    return [part for part in model.modules() if isinstance(part, Backbone)]


def changes_to_keep(nets: Sequence[Backbone[Any]]) -> list[list[Change]]:
    """Return the changes of each network.

    A fused copy keeps those inside a stage, by copying the stage as it is, those of the head, and hooks on the model.

    Raises:
        ArgumentError: a change is one of `features` itself, or replaces a method of one instance.
    """
    changes = [describe_changes(net) for net in nets]
    if refused := [change for each in changes for change in each if _is_lost(change)]:
        raise ArgumentError(f"fuse: {list_changes(refused)}; a fused model cannot keep this: undo it, or use the model unfused")
    return changes


def changed_stages(changes: Sequence[Change]) -> Collection[str]:
    """Return the names of the stages that differ from their specification."""
    return {change.part.split(".")[1] for change in changes if change.part.startswith("features.")}


@contextmanager
def explain_copy_errors(changes: Sequence[Sequence[Change]]) -> Iterator[None]:
    """Raise ArgumentError if a changed model cannot be copied. torch copies no tensor that was computed, as pruned ones are."""
    try:
        yield
    except RuntimeError as error:
        made = [change for each in changes for change in each]
        if not made or "deepcopy" not in str(error):
            raise
        undo = "undo this, or use the model unfused"
        remedy = next((change.remedy for change in made if change.remedy), undo)
        raise ArgumentError(f"fuse: the model cannot be copied: {list_changes(made)}; {remedy}") from error


def _is_lost(change: Change) -> bool:
    is_stage = change.part.startswith("features.") and change.part.count(".") == 1
    return change.kind == "method" or change.part == "features" or (change.kind == "child" and is_stage)
