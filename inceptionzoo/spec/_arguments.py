"""The network that a registry entry gives for keyword arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError
from ._entry import Entry
from ._network import Network
from ._variants import VARIANT_ARGUMENTS, apply_variants


def make_network(entry: Entry, arguments: Mapping[str, Any]) -> Network:
    """Return the network of an entry.

    The entry's function gets the arguments that it takes. The others must be in VARIANT_ARGUMENTS; `apply_variants` gets
    them.

    Raises:
        ArgumentError: the entry does not hold a network or a function that returns one.
    """
    if not callable(entry.network) and not isinstance(entry.network, Network):
        raise ArgumentError(f"network={entry.network!r} must be a network, or a function that returns one")
    own_names = network_arguments(entry)
    variants = {key: value for key, value in arguments.items() if key in VARIANT_ARGUMENTS and key not in own_names}
    if isinstance(entry.network, Network):
        return apply_variants(entry.network, **variants)
    network = entry.network(**{key: value for key, value in arguments.items() if key not in variants})
    if not isinstance(network, Network):
        raise ArgumentError(f"model {entry.name!r}: its function returned {network!r}; it must return a network(...)")
    return apply_variants(network, **variants)


def network_arguments(entry: Entry) -> dict[str, Any]:
    """Return the keyword arguments of the entry's own function, with their defaults."""
    parameters = inspect.signature(entry.network).parameters if callable(entry.network) else {}
    return {name: parameter.default for name, parameter in parameters.items()}
