"""Check that a model is the network of another library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import MismatchError
from ..nn import FeatureNet, Net
from ..spec import Entry, Layout, network_arguments


def check_arguments(model: Net | FeatureNet, layout: Layout, name: str) -> None:
    """Check that a model has the arguments with which it is the network of a layout's library.

    Raises:
        MismatchError: it has others. The message begins with `name` and has the arguments that fit.
    """
    if model.origin is None:
        return
    entry, arguments = model.origin
    if wrong := other_arguments(layout, entry, arguments):
        ours = {**network_arguments(entry), **arguments}
        given = ", ".join(f"{key}={ours.get(key)!r}" for key in wrong)
        remedy = ", ".join(f"{key}={value!r}" for key, value in wrong.items())
        raise MismatchError(
            f"{name}: the layout {layout.name!r} is that of another network, and the model was built with {given}; "
            f"create_model({entry.name!r}, {remedy}) fits"
        )


def other_arguments(layout: Layout, entry: Entry, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a layout that differ from those of a model, which are the entry's defaults and `arguments`."""
    ours = {**network_arguments(entry), **arguments}
    return {key: value for key, value in layout.arguments.items() if ours.get(key) != value}
