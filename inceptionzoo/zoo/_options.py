"""Options of a model: those that the caller asks for, and those that a source of weights states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from ..errors import KeywordError, MismatchError, check_int, suggestion
from ..nn import check_head
from ..spec import (
    GLOBAL_POOLS,
    MAX_CHANNELS,
    VARIANT_ARGUMENTS,
    Conv,
    DataConfig,
    Depthwise,
    Entry,
    GlobalPool,
    Network,
    network_arguments,
)
from ..weights import (
    CLASSIFIER_WEIGHT,
    ModelMetadata,
    WeightSource,
    as_dense,
    first_convolution,
    locate_network,
    require_dense,
    with_tuples,
)

COMMON = (  # the arguments of `create_model` itself, besides the name
    *("pretrained", "features_only", "out_indices", "weights", "num_classes", "in_chans", "global_pool", "drop_rate"),
    *("device", "dtype", "cache_dir"),
)
REMEDIES = {  # keywords of other libraries, and what takes their place
    "aux_logits": "with_aux(model)",
    "checkpoint_path": "weights=FILE",
    "class_names": "model.set_class_names(names)",
    "dropout": "drop_rate=0.5",
    "img_size": "model.set_input_size(64)",
    "input_size": "model.set_input_size(64)",
    "transform_input": "model.data, which holds the mean and the standard deviation",
}


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Options that every model has. None stands for the value of the weights, or without weights for that of the entry."""

    num_classes: int | None = None
    in_chans: int | None = None
    global_pool: GlobalPool | None = None
    drop_rate: float | None = None

    def check(self, entry: Entry) -> None:
        """Check each value, and that classes are not combined with `global_pool=""`."""
        pool: GlobalPool = "avg" if self.global_pool is None else self.global_pool
        classes = entry.num_classes if self.num_classes is None else self.num_classes
        check_head(classes, pool, 0.0 if self.drop_rate is None else self.drop_rate)
        if self.in_chans is not None:
            check_int("in_chans", self.in_chans, 1, MAX_CHANNELS)

    def merged(self, entry: Entry, source: ModelOptions | None) -> dict[str, Any]:
        """Return the arguments of `build_network`. The caller's options come first, then the source's, then the entry's."""
        default = ModelOptions(entry.num_classes, entry.data.input_size[0], "avg")
        merged: dict[str, Any] = {}
        for item in fields(self):
            values = (getattr(options, item.name) for options in (self, source, default) if options is not None)
            merged[item.name] = next((value for value in values if value is not None), None)
        if merged["num_classes"] and self.global_pool is None and not merged["global_pool"]:
            merged["global_pool"] = "avg"  # the weights have no head, and the caller asks for one
        return {**merged, "data": entry.data.sized(merged["in_chans"], *entry.data.size)}


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says about its model in a file's header, a config.json or a `Published`. None means that it says nothing.

    If `options` is None, they are read off the shapes of the tensors; see `options_from_shapes`. `network` is a network of
    the user's own, with `arguments` applied.
    """

    options: ModelOptions | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data: DataConfig | None = None
    class_names: tuple[str, ...] | None = None
    channels_last: bool = False
    network: Network | None = None
    task: str | None = None


def check_keywords(entry: Entry, arguments: Mapping[str, Any]) -> None:
    """Check that every keyword argument is one of the model's own or one of `apply_variants`.

    Raises:
        KeywordError: one is unknown; the message says what to use, or suggests the nearest name.
    """
    accepted = {*network_arguments(entry), *VARIANT_ARGUMENTS}
    names = sorted({*COMMON, *accepted})
    for key in arguments:
        if key not in accepted:
            hint = f"; use {REMEDIES[key]}." if key in REMEDIES else suggestion(key, names)
            raise KeywordError(f"unknown keyword {key!r} for {entry.name!r}{hint} It takes {', '.join(names)}")


def info_from_metadata(metadata: ModelMetadata | None) -> SourceInfo:
    """Return what the header of a file says about its model; nothing if `save_weights` did not write the file."""
    if metadata is None:
        return SourceInfo()
    return SourceInfo(
        options=ModelOptions(
            metadata.num_classes,
            metadata.in_chans,
            next(pool for pool in GLOBAL_POOLS if pool == metadata.global_pool),
            metadata.drop_rate,
        ),
        arguments=with_tuples(metadata.arguments),
        data=DataConfig.from_json(metadata.data),
        class_names=None if metadata.class_names is None else tuple(metadata.class_names),
        channels_last=metadata.channels_last,
        network=metadata.network,
        task=metadata.task,
    )


def options_from_shapes(network: Network, entry: Entry, source: WeightSource) -> ModelOptions:
    """Return the numbers of classes and input channels, from the shapes of the classifier and the first convolution.

    There are 0 classes if the source has no classifier. Without a tensor of a head that has hidden layers, there is no pooling
    either. If the first convolution is not found, the numbers stay None: the entry's apply, and loading reports which names
    differ.

    Raises:
        MismatchError: the two tensors have shapes that no model of this network has.
    """
    path, conv = first_convolution(network)
    location = locate_network(network, source, entry.layouts)
    if conv is None or location is None:
        return ModelOptions(global_pool="avg")
    tensors, layout = location.tensors(), location.layout
    stem, classifier = tensors.get(layout.theirs(path)), tensors.get(layout.theirs(CLASSIFIER_WEIGHT))
    is_left_out = isinstance(conv, Conv) and conv.min_channels > 1  # a first convolution of more channels than the source's
    if stem is None and not is_left_out:
        return ModelOptions(global_pool="avg")
    stem = None if stem is None else require_dense(path, stem)
    classifier = None if classifier is None else as_dense(require_dense(CLASSIFIER_WEIGHT, classifier))
    if (stem is not None and (stem.ndim != network.spatial_dims + 2 or not stem.shape[1])) or (
        classifier is not None and (classifier.ndim != 2 or not len(classifier))
    ):
        shapes = " and ".join(
            f"{name} {None if value is None else tuple(value.shape)}" for name, value in (("head", classifier), ("stem", stem))
        )
        raise MismatchError(f"{source.name}: {shapes} do not fit {entry.name!r}; use weights of this model")
    in_chans = None if stem is None else _input_channels(conv, stem)
    hidden = [layout.theirs(f"head.hidden.fc{number}.weight") for number in range(1, len(network.head.hidden) + 1)]
    has_head = classifier is not None or not hidden or any(name in tensors for name in hidden)
    return ModelOptions(0 if classifier is None else len(classifier), in_chans, "avg" if has_head else "")


def _input_channels(conv: Conv | Depthwise, weight: Tensor) -> int:
    """Return the input channels of a convolution with this weight."""
    return len(weight) // conv.multiplier if isinstance(conv, Depthwise) else weight.shape[1] * conv.groups
