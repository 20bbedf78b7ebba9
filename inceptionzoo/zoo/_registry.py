"""Which models there are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ..errors import ArgumentError, UnknownModelError, check_flag, check_int, check_size, check_text, suggestion
from ..models import ENTRIES
from ..spec import (
    MAX_CHANNELS,
    VARIANT_ARGUMENTS,
    DataConfig,
    Entry,
    Layout,
    Network,
    Published,
    Recipe,
    Shape,
    apply_variants,
    min_input_size,
    network_cost,
)

REGISTRY: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model is, computed from its table: `macs` are multiply-adds of one image of `input_size` (c, h, w).

    `min_input_size` is the side in pixels of the smallest square image it takes; `complete` is False where an `Op` of
    the network states no cost, which `params` and `macs` then leave out.
    """

    name: str
    about: str
    paper: str
    params: int
    macs: int
    num_classes: int
    input_size: tuple[int, int, int]
    min_input_size: int
    weights: Mapping[str, Published]
    complete: bool


def find_entry(name: str) -> Entry:
    """Return the entry of `name`.

    Raises:
        UnknownModelError: no such model; the message has the nearest name.
    """
    check_text("name", name)
    if name not in REGISTRY:
        raise UnknownModelError(f"unknown model {name!r}{suggestion(name, REGISTRY)} See list_models()")
    return REGISTRY[name]


def find_entry_and_tag(name: str) -> tuple[Entry, str | None]:
    """Return the entry of "name" or "name.tag", and the tag.

    Raises:
        UnknownModelError: no such model, or no such weights of it; the message has the nearest.
    """
    base, dot, tag = name.partition(".") if isinstance(name, str) else (name, "", "")
    entry = find_entry(base)
    if dot and tag not in entry.weights:
        tags = ", ".join(entry.weights) or "none published"
        raise UnknownModelError(f"unknown weights {name!r}{suggestion(tag, entry.weights)} {base!r} has {tags}")
    return entry, tag if dot else None


def is_model(name: str) -> bool:
    """Return whether a model of this name is registered; with a tag, whether it has such weights."""
    check_text("name", name)
    base, dot, tag = name.partition(".")
    return base in REGISTRY and (not dot or tag in REGISTRY[base].weights)


def list_models(
    filter: str | Iterable[str] = "", pretrained: bool = False, exclude_filters: str | Iterable[str] = ""
) -> list[str]:
    """Return the sorted names that match any pattern of `filter`, as in `"*inception*"`, and none of `exclude_filters`.

    With `pretrained`, the names with the tags of their published weights; a pattern without a dot is one of names.
    """
    check_flag("pretrained", pretrained)
    wanted, unwanted = _patterns("filter", filter) or ["*"], _patterns("exclude_filters", exclude_filters)
    names = [f"{name}.{tag}" for name, entry in REGISTRY.items() for tag in entry.weights] if pretrained else list(REGISTRY)
    return sorted(name for name in names if _matches(name, wanted) and not _matches(name, unwanted))


def model_info(name: str) -> ModelInfo:
    """Return what the registry and the model's table say of `name`.

    Raises:
        UnknownModelError: no such model.
    """
    entry, _ = find_entry_and_tag(name)
    network = make_network(entry, {})
    whole = network_cost(network, Shape(*entry.data.input_size), entry.num_classes)
    return ModelInfo(
        name=name,
        about=entry.about,
        paper=entry.paper,
        params=whole.params,
        macs=whole.macs,
        num_classes=entry.num_classes,
        input_size=entry.data.input_size,
        min_input_size=min_input_size(network, in_channels=entry.data.input_size[0]),
        weights=entry.weights,
        complete=whole.complete,
    )


def register_model(
    name: str,
    network: Network | Callable[..., Network],
    *,
    paper: str = "",
    about: str = "",
    num_classes: int = 1000,
    input_size: tuple[int, int, int] | None = None,
    data: DataConfig | None = None,
    recipe: Recipe | None = None,
    layouts: tuple[Layout, ...] = (),
) -> None:
    """Add a model: `network` is one, or a function that returns one, whose keyword arguments `create_model` then takes.

    `data` is the preprocessing, ImageNet's at (3, 224, 224) where nothing is said; `input_size` (channels, height, width) is
    put into it.

    Raises:
        ArgumentError: the name is taken or no name, the network is none, or a number lies outside its range.
    """
    if not isinstance(name, str) or not name or not set(name) <= _NAME:
        raise ArgumentError(f"name={name!r} must be made of letters, digits, '_' and '-'")
    if name in REGISTRY:
        raise ArgumentError(f"model {name!r} is registered already; choose another name")
    check_int("num_classes", num_classes, 0)
    if input_size is not None:
        check_size("input_size", input_size, most_channels=MAX_CHANNELS)
    check_text("paper", paper)
    check_text("about", about)
    for argument, value, kind in (("data", data, DataConfig), ("recipe", recipe, Recipe)):
        if value is not None and not isinstance(value, kind):
            raise ArgumentError(f"{argument}={value!r} must be a {kind.__name__}, as {kind.__name__}() is one")
    if not isinstance(layouts, tuple | list) or not all(isinstance(layout, Layout) for layout in layouts):
        raise ArgumentError(f"layouts={layouts!r} must be a tuple of Layout(name, prefixes)")
    prepared = data or DataConfig()
    entry = Entry(
        name=name,
        network=network,
        paper=paper,
        about=about,
        num_classes=num_classes,
        data=prepared.sized(*input_size) if input_size else prepared,
        recipe=recipe or Recipe(),
        layouts=tuple(layouts),
    )
    make_network(entry, {})
    REGISTRY[name] = entry


def make_network(entry: Entry, arguments: Mapping[str, Any]) -> Network:
    """Return the entry's network with the model's own arguments.

    Raises:
        ArgumentError: what the entry holds is no network.
    """
    common = {
        key: value for key, value in arguments.items() if key in VARIANT_ARGUMENTS and key not in network_arguments(entry)
    }
    own = {key: value for key, value in arguments.items() if key not in common}
    if isinstance(entry.network, Network):
        return apply_variants(entry.network, **common)
    if not callable(entry.network):
        raise ArgumentError(f"network={entry.network!r} must be a network, or a function that returns one")
    made = entry.network(**own)
    if not isinstance(made, Network):
        raise ArgumentError(f"model {entry.name!r}: its function returns {made!r}, which is no network(...)")
    return apply_variants(made, **common)


def network_arguments(entry: Entry) -> list[str]:
    """Return the names of the keyword arguments that are the model's own."""
    if not callable(entry.network):
        return []
    return list(inspect.signature(entry.network).parameters)


_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def _patterns(argument: str, filters: str | Iterable[str]) -> list[str]:
    patterns = [filters] if isinstance(filters, str) else list(filters) if isinstance(filters, Iterable) else [filters]
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise ArgumentError(f"{argument}={filters!r} must be a pattern, as '*inception*' is one, or a list of them")
    return [pattern for pattern in patterns if pattern]


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name if "." in pattern else name.partition(".")[0], pattern) for pattern in patterns)
