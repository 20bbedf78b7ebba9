"""Entry points and configurations of the models for timm's registry.

timm looks for `default_cfgs` in the module of an entry point, so both are here. The name of this module is the one in
`timm.list_models(module="izoo")`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from timm.models import PretrainedCfg, build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from ...errors import ArgumentError, check_choice
from ...nn import Net, build_layer, name_counts
from ...spec import (
    DataConfig,
    Entry,
    Network,
    Published,
    Shape,
    feature_levels,
    has_exact_reductions,
    make_network,
    min_feature_size,
    stage_costs,
)
from ...weights import load_source, names_of, parse_class_names, read_weights, select_weights
from ...weights.download import HUB
from ...zoo import create_model, find_entry, load_published

SAME = {"padding": "same"}  # the keyword arguments of "izoo_NAME_same"
FEATURE_CLASSES = "getter", "hook", "fx"  # timm's "dict" and "list" do not find modules inside `features`
SOURCES = ("file", "url", "hf_hub_id", "state_dict")  # keys of a pretrained_cfg that say where the weights are
EntryPoint = Callable[..., Any]
Configuration = str | Mapping[str, Any] | PretrainedCfg | None  # what timm passes as pretrained_cfg; a string is a tag

default_cfgs: dict[str, Any] = {}  # timm reads this
__all__: list[str] = []  # timm adds the names of the entry points


def needs_same_padding(entry: Entry) -> bool:
    """Return whether the maps of a model differ in size from what its reductions say, and padding="same" makes them agree."""
    channels = entry.data.input_size[0]
    try:
        padded = make_network(entry, SAME)
    except ArgumentError:
        return False
    exact = [has_exact_reductions(network, in_channels=channels) for network in (make_network(entry, {}), padded)]
    return exact == [False, True]


def register_as(names: Sequence[str], entry: Entry, extra: Mapping[str, Any]) -> None:
    """Register the model, built with the keyword arguments `extra`, in timm under each name. No name may be taken."""
    configs: dict[str, Any] = {f".{tag}": _pretrained_cfg(entry, weights, extra) for tag, weights in entry.weights.items()}
    configs = configs or {"": _pretrained_cfg(entry, None, extra)}
    for name in names:
        default_cfgs.update(generate_default_cfgs({f"{name}{tag}": config for tag, config in configs.items()}))
        register_model(_entry_point(name, entry.name, extra))


def _entry_point(name: str, entry_name: str, extra: Mapping[str, Any]) -> EntryPoint:
    def entry_point(pretrained: bool = False, pretrained_cfg: Configuration = None, **arguments: Any) -> Any:
        entry, config = find_entry(entry_name), pretrained_cfg
        if config is None and not entry.weights:  # timm's own copy may be that of a network that was replaced
            config = replace(_pretrained_cfg(entry, None, extra), architecture=name)
        return _build(name, entry, pretrained, config, **{**extra, **arguments})

    entry_point.__name__ = entry_point.__qualname__ = name
    return entry_point


def _build(
    name: str,
    entry: Entry,
    pretrained: bool,
    pretrained_cfg: Configuration = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    cache_dir: str | None = None,
    **arguments: Any,
) -> Any:
    """Return the model, or with `features_only` its feature extractor, as timm's `build_model_with_cfg` builds it.

    Raises:
        ArgumentError: `feature_cls` is the name of an extractor that cannot read the levels of these models.
    """
    if isinstance(feature_cls := arguments.get("feature_cls"), str):
        check_choice("feature_cls", feature_cls, FEATURE_CLASSES)
    tag, overlay = _tag(entry, pretrained_cfg), dict(pretrained_cfg_overlay or {})
    has_source = not isinstance(pretrained_cfg, str | None) or any(overlay.get(source) for source in SOURCES)
    if pretrained and tag and not has_source:  # read from this library's caches, with the checksum checked
        overlay["state_dict"] = load_published(entry, tag, cache_dir)[0].tensors
    nets: list[Net] = []  # with features_only, timm returns a wrapper and not the model itself

    def create(**keywords: Any) -> Net:
        nets.append(create_model(entry.name, **keywords))
        return nets[0]

    level_count = len(feature_levels(make_network(entry, {}), entry.data.input_size[0]))
    config: Any = pretrained_cfg
    model: Any = build_model_with_cfg(
        create,
        name,
        pretrained,
        pretrained_cfg=config,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=_filter_state_dict,
        feature_cfg={"feature_cls": "getter", "out_indices": tuple(range(level_count))},
        cache_dir=cache_dir,
        **{**(entry.weights[tag].arguments if tag else {}), **arguments},
    )
    if not has_source:
        for module in (model, nets[0]):
            module.pretrained_cfg.pop("state_dict", None)
    _apply_pretrained_cfg(nets[0])
    return model


def _tag(entry: Entry, config: Configuration) -> str | None:
    """Return the tag of the published weights whose `arguments` the model is built with, pretrained or not."""
    if config is None:
        return next(iter(entry.weights), None)
    tag = config.tag if isinstance(config, PretrainedCfg) else config
    tag = tag.get("tag") if isinstance(tag, Mapping) else tag
    return tag if tag in entry.weights else None


def _filter_state_dict(state: Mapping[str, Any], model: Net) -> dict[str, Tensor]:
    """Return the state dict with the model's names, from any layout that `load_weights` reads, after the same checks.

    The first convolution is returned unadapted, because timm itself adapts it to `in_chans`. timm also drops a classifier with
    another number of classes.
    """
    config = model.pretrained_cfg
    new_head = model.num_classes != config["num_classes"]
    source, _ = select_weights(names_of(model, new_head=new_head), read_weights(state))
    report = load_source(model, source, new_head=new_head)
    tensors: dict[str, Tensor] = dict(model.state_dict())
    first_conv = f"{config['first_conv']}.weight" if config["first_conv"] else ""
    if first_conv in report.adapted:
        source_names = {own_name: source_name for source_name, own_name in report.renamed.items()}
        tensors[first_conv] = source.tensors[source_names.get(first_conv, first_conv)]
    return tensors


def _apply_pretrained_cfg(model: Net) -> None:
    """Set the model's preprocessing and class names to those of its `pretrained_cfg`."""
    config = model.pretrained_cfg
    size = tuple(config["input_size"])
    mean, std = (_per_channel(config[key], size[0]) for key in ("mean", "std"))
    others = {key: config[key] for key in ("interpolation", "crop_pct", "crop_mode") if key in config}
    data = DataConfig(input_size=size, mean=mean, std=std, **others)
    model.data = data.sized(model.in_chans, *size[1:])
    model.pretrained_cfg = config  # timm's own, for the channels of the weights
    labels = config.get("label_names")
    if isinstance(labels, Mapping) and model.num_classes != config.get("num_classes"):
        labels = None  # the indices are those of other classes
    names = parse_class_names(labels, model.num_classes)
    if names and len(names) in name_counts(model.num_classes, model.task):
        model.set_class_names(names)


def _per_channel(value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    """Return a value for each channel of one number, which timm takes for all channels, or of a sequence."""
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values * channels if len(values) == 1 else values


def _pretrained_cfg(entry: Entry, weights: Published | None, extra: Mapping[str, Any]) -> PretrainedCfg:
    """Return timm's configuration of published weights, or of the model without weights, built with `extra`."""
    network = make_network(entry, {**(weights.arguments if weights else {}), **extra})
    data = weights.data if weights else entry.data
    last_map = stage_costs(network, Shape(*data.input_size))[-1][2].shape
    side = min_feature_size(network, in_channels=data.input_size[0])
    on_hub = weights is not None and weights.url.startswith(HUB)
    return PretrainedCfg(
        url=weights.url if weights and not on_hub else None,
        hf_hub_id=weights.url.removeprefix(HUB) if weights and on_hub else None,
        input_size=data.input_size,  # type: ignore[arg-type]  # timm knows images alone
        mean=data.mean,
        std=data.std,
        interpolation=data.interpolation,
        crop_pct=data.crop_pct,
        crop_mode=data.crop_mode,
        min_input_size=(data.input_size[0], *(side,) * network.spatial_dims),  # type: ignore[arg-type]
        num_classes=weights.num_classes if weights else entry.num_classes,
        pool_size=last_map.size,
        first_conv=_first_conv(network, data.input_size[0]),
        classifier="head.fc",
        license=weights.license if weights else None,
        description=entry.about,
        paper_name=entry.paper,
    )


def _first_conv(network: Network, in_channels: int) -> Any:
    """Return the name of the first convolution, or () if it is depthwise, because timm cannot adapt that to `in_chans`."""
    stage, layer = network.stages[0]
    with torch.device("meta"):
        module = build_layer(layer, in_channels, network.style)
    path, conv = next((path, child) for path, child in module.named_modules() if isinstance(child, nn.Conv2d))
    return f"features.{stage}.{path}" if conv.groups == 1 else ()
