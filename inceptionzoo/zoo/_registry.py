"""The registry: list, find and describe models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import ArgumentError, UnknownModelError, check_flag, check_text, suggestion
from ..models import ENTRIES
from ..spec import (
    DataConfig,
    Entry,
    Network,
    Published,
    Shape,
    make_network,
    min_input_size,
    network_cost,
)
from ..weights import WEIGHT_ENDINGS
from ..weights.download import is_reference

REGISTRY: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}
# Names in other libraries that are not close to ours, in lower case and without separators
OTHER_NAMES = {"inceptionv1": "googlenet", "bninception": "bn_inception", "facenet": "inception_resnet_v1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The description of a registered model, as `model_info` returns it.

    - `params`: the number of parameters; auxiliary heads are not counted.
    - `macs`: multiply-adds for one image of `input_size`, which is (channels, height, width).
    - `min_input_size`: the side in pixels of the smallest square image that the model accepts.
    - `weights`: the published weights, by tag.
    - `complete`: False if the network has an `Op` without a cost, or a normalisation or activation of the user's own.
      `params` and `macs` leave it out.
    """

    name: str
    about: str
    paper: str
    params: int
    macs: int
    num_classes: int
    input_size: tuple[int, ...]
    min_input_size: int
    weights: Mapping[str, Published]
    complete: bool


def find_entry(name: str) -> Entry:
    """Return the entry of a model.

    Raises:
        UnknownModelError: no model has this name. The message suggests the closest name.
    """
    check_text("name", name)
    if name not in REGISTRY:
        known_as = OTHER_NAMES.get(name.lower().replace("_", "").replace("-", ""), name)
        raise UnknownModelError(f"unknown model {name!r}{suggestion(known_as, REGISTRY)} See list_models()")
    return REGISTRY[name]


def find_entry_and_tag(name: str) -> tuple[Entry, str | None]:
    """Return the entry and the tag of "name.tag". The tag of "name" is None.

    Raises:
        UnknownModelError: no model has this name, or none of its weights has this tag. The message suggests the closest.
    """
    base, dot, tag = name.partition(".") if isinstance(name, str) else (name, "", "")
    if is_reference(name):
        raise UnknownModelError(f"unknown model {name!r}: it is a repository, not a name; create_model({name!r}) loads it")
    if isinstance(name, str) and "://" in name:
        remedy = "create_model('hf-hub:OWNER/NAME') loads a repository of the Hub, create_model(NAME, weights=FILE) a file"
        raise UnknownModelError(f"unknown model {name!r}: it is a URL, from which nothing is loaded; {remedy}")
    if isinstance(name, str) and ("/" in name or "\\" in name or Path(name).suffix in WEIGHT_ENDINGS):
        remedy = f"load_model({name!r}) loads a file of this library, create_model(NAME, weights={name!r}) any file of weights"
        if Path(name).suffix not in WEIGHT_ENDINGS:
            path = name.removeprefix("hf_hub:")  # timm's older prefix
            remedy += f", create_model('hf-hub:{path}') a repository of the Hub, create_model('local-dir:{path}') a folder"
        raise UnknownModelError(f"unknown model {name!r}, which looks like a path: {remedy}")
    if not base:
        raise UnknownModelError(f"unknown model {name!r}. See list_models(); local-dir:PATH names a folder of save_pretrained")
    entry = find_entry(base)
    if dot and tag not in entry.weights:
        tags = ", ".join(entry.weights) or "none published"
        raise UnknownModelError(f"unknown weights {name!r}{suggestion(tag, entry.weights)} {base!r} has {tags}")
    return entry, tag if dot else None


def is_model(name: str) -> bool:
    """Return whether the model `name` is registered. For "name.tag", return whether it has weights with this tag."""
    check_text("name", name)
    base, dot, tag = name.partition(".")
    return base in REGISTRY and (not dot or tag in REGISTRY[base].weights)


def list_models(
    filter: str | Iterable[str] = "", pretrained: bool = False, exclude_filters: str | Iterable[str] = ""
) -> list[str]:
    """Return the sorted names of the registered models.

    `filter` is a wildcard pattern such as `"*inception*"`, or several: a name must match at least one. Names that match a
    pattern of `exclude_filters` are left out. With `pretrained`, return "name.tag" for all published weights; a pattern
    without a dot is then compared with the name alone.

    Raises:
        ArgumentError: a filter is not a string or a list of strings, or `pretrained` is not a bool.
    """
    check_flag("pretrained", pretrained)
    included, excluded = _patterns("filter", filter) or ["*"], _patterns("exclude_filters", exclude_filters)
    names = [f"{name}.{tag}" for name, entry in REGISTRY.items() for tag in entry.weights] if pretrained else list(REGISTRY)
    return sorted(name for name in names if _matches(name, included) and not _matches(name, excluded))


def model_info(name: str) -> ModelInfo:
    """Return the cost, the input sizes and the published weights of a model. Nothing is built or downloaded.

    For "name.tag", they are those of the model of these weights.

    Raises:
        UnknownModelError: no model has this name, or it has no such published weights.
    """
    entry, tag = find_entry_and_tag(name)
    network, num_classes, data = resolve_tag(entry, tag)
    total = network_cost(network, Shape(*data.input_size), num_classes)
    return ModelInfo(
        name=name,
        about=entry.about,
        paper=entry.paper,
        params=total.params,
        macs=total.macs,
        num_classes=num_classes,
        input_size=data.input_size,
        min_input_size=min_input_size(network, in_channels=data.input_size[0]),
        weights=dict(entry.weights),
        complete=total.complete,
    )


def resolve_tag(entry: Entry, tag: str | None) -> tuple[Network, int, DataConfig]:
    """Return the network, the number of classes and the preprocessing of published weights; without a tag, the entry's own."""
    if tag is None:
        return make_network(entry, {}), entry.num_classes, entry.data
    row = entry.weights[tag]
    return make_network(entry, row.arguments), row.num_classes, row.data


def _patterns(argument: str, filters: str | Iterable[str]) -> list[str]:
    patterns = [filters] if isinstance(filters, str) else list(filters) if isinstance(filters, Iterable) else [filters]
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise ArgumentError(f"{argument}={filters!r} must be a pattern such as '*inception*', or a list of patterns")
    return [pattern for pattern in patterns if pattern]


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name if "." in pattern else name.partition(".")[0], pattern) for pattern in patterns)
