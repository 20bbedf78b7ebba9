"""The models as timm's registry holds them: an entry point and a description each, under this module's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.models import PretrainedCfg, build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from ..nn import Net, build_layer
from ..spec import DataConfig, Entry, Network, Published, Shape, feature_levels, min_input_size, stage_costs
from ..weights import load_source, read_weights
from ..weights.download import HUB
from ..zoo import create_model, find_entry, load_published, make_network

SOURCES = ("file", "url", "hf_hub_id", "state_dict")  # where a description of timm's says that weights are
EntryPoint = Callable[..., Any]
Described = str | Mapping[str, Any] | PretrainedCfg | None  # a tag, or all that timm says of weights

default_cfgs: dict[str, Any] = {}  # timm reads this of the module of an entry point
__all__: list[str] = []  # and writes the names of entry points to this


def register_as(names: Sequence[str], entry: Entry) -> None:
    """Register the model in timm under each name, which has to be free."""
    rows: dict[str, Any] = {f".{tag}": _description(entry, row) for tag, row in entry.weights.items()}
    rows = rows or {"": _description(entry, None)}
    for name in names:
        default_cfgs.update(generate_default_cfgs({f"{name}{tag}": row for tag, row in rows.items()}))
        register_model(_entry_point(name, entry.name))


def _entry_point(name: str, ours: str) -> EntryPoint:
    def entry_point(pretrained: bool = False, **arguments: Any) -> Any:
        return _build(name, find_entry(ours), pretrained, **arguments)

    entry_point.__name__ = entry_point.__qualname__ = name
    return entry_point


def _build(
    name: str,
    entry: Entry,
    pretrained: bool,
    pretrained_cfg: Described = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    cache_dir: str | None = None,
    **arguments: Any,
) -> Any:
    """Return the model from timm's builder, or its feature network."""
    tag, overlay = _tag(entry, pretrained_cfg), dict(pretrained_cfg_overlay or {})
    told = not isinstance(pretrained_cfg, str | None) or any(overlay.get(source) for source in SOURCES)
    if pretrained and tag and not told:  # checked, from this library's caches
        overlay["state_dict"] = load_published(entry, tag, cache_dir)[0].tensors
    made: list[Net] = []

    def make(**keywords: Any) -> Net:
        made.append(create_model(entry.name, **keywords))
        return made[0]

    count = len(feature_levels(make_network(entry, {}), entry.data.input_size[0]))
    described: Any = pretrained_cfg
    built: Any = build_model_with_cfg(
        make,
        name,
        pretrained,
        pretrained_cfg=described,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=_converted,
        feature_cfg={"feature_cls": "getter", "out_indices": tuple(range(count))},
        cache_dir=cache_dir,
        **{**(entry.weights[tag].arguments if tag else {}), **arguments},
    )
    if not told:
        for model in (built, made[0]):
            model.pretrained_cfg.pop("state_dict", None)
    _describe(made[0])
    return built


def _tag(entry: Entry, described: Described) -> str | None:
    """Return whose weights' arguments the model has: timm makes the same model with `pretrained` and without."""
    if described is None:
        return next(iter(entry.weights), None)
    tag = described.tag if isinstance(described, PretrainedCfg) else described
    tag = tag.get("tag") if isinstance(tag, Mapping) else tag
    return tag if tag in entry.weights else None


def _converted(state: Mapping[str, Any], model: Net) -> dict[str, Tensor]:
    """Return the weights by the model's names, whatever layout they have; all of them are checked, as `load_weights` does.

    timm adapts a first convolution of other channels and leaves a classifier of other classes out by itself.
    """
    source, described = read_weights(state), model.pretrained_cfg
    report = load_source(model, source, new_head=model.num_classes != described["num_classes"])
    tensors: dict[str, Tensor] = dict(model.state_dict())
    stem = f"{described['first_conv']}.weight" if described["first_conv"] else ""
    if stem in report.adapted:
        theirs = {ours: name for name, ours in report.renamed.items()}
        tensors[stem] = source.tensors[theirs.get(stem, stem)]
    return tensors


def _describe(model: Net) -> None:
    """Let the model's own description say what timm's does: of its images, and of its classes."""
    said = model.pretrained_cfg
    size, mean, std = (tuple(said[key]) for key in ("input_size", "mean", "std"))
    data = DataConfig(input_size=size, mean=mean, std=std, interpolation=said["interpolation"], crop_pct=said["crop_pct"])
    model.data = data.sized(model.in_chans, *size[1:])
    names = said.get("label_names")
    if names and model.num_classes == len(names) == len(set(names)):
        model.set_class_names(tuple(names))


def _description(entry: Entry, row: Published | None) -> PretrainedCfg:
    """Return timm's description of published weights, or of the model where there are none."""
    network, data = make_network(entry, row.arguments if row else {}), row.data if row else entry.data
    last = stage_costs(network, Shape(*data.input_size))[-1][2].shape
    side = min_input_size(network, in_channels=data.input_size[0])
    at_hub = row is not None and row.url.startswith(HUB)
    return PretrainedCfg(
        url=row.url if row and not at_hub else None,
        hf_hub_id=row.url.removeprefix(HUB) if row and at_hub else None,
        input_size=data.input_size,
        mean=data.mean,
        std=data.std,
        interpolation=data.interpolation,
        crop_pct=data.crop_pct,
        min_input_size=(data.input_size[0], side, side),
        num_classes=row.num_classes if row else entry.num_classes,
        pool_size=(last.height, last.width),
        first_conv=_first_conv(network, data.input_size[0]),
        classifier="head.fc",
        license=row.license if row else None,
        description=entry.about,
        paper_name=entry.paper,
    )


def _first_conv(network: Network, channels: int) -> Any:
    """Return the name of the convolution that sees the image, or no name where it is depthwise, as timm adapts none."""
    name, layer = network.stages[0]
    with torch.device("meta"):
        stage = build_layer(layer, channels, network.style)
    path, first = next((path, part) for path, part in stage.named_modules() if isinstance(part, nn.Conv2d))
    return f"features.{name}.{path}" if first.groups == 1 else ()
