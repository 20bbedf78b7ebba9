"""The names that Keras gives to a network's layers, and their order in Keras's files. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from ._basic_layers import Conv, Depthwise
from ._data_config import DataConfig
from ._entry import Published
from ._layers import Chain, Concat, Layer, Residual
from ._layout import Layout
from ._network import Network

KIND = {"kernel": "conv2d", "depthwise_kernel": "separable_conv2d", "gamma": "batch_normalization"}  # by the first variable
URL = "https://storage.googleapis.com/tensorflow/keras-applications/{name}/{name}_weights_tf_dim_ordering_tf_kernels{end}.h5"
Naming = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _KerasLayer:
    """A layer of Keras: {variable: our key}, and the number of layers from its input to the output of the network."""

    name: str
    variables: Mapping[str, str]
    distance: int

    @property
    def kind(self) -> str:
        return KIND[next(iter(self.variables))]


@dataclass(frozen=True, kw_only=True)
class KerasLayout(Layout):
    """Keras's names of a network's tensors, "LAYER.VARIABLE". They are computed when they are first used.

    `names` is a function from the path of a convolution ("features.conv1"), or of its normalisation ("features.conv1.bn"), to
    Keras's name for the layer; "" for a layer that Keras numbers. `dense` lists (our module, Keras's name) of the layers of the
    head: dense ones, and normalisations, whose module is named "bn1".
    `scale` says whether Keras's batch normalisation has a scale ("gamma").

    With `by_position` a layer has the name of its group in files without names, which Keras 2.13 to 3.5 write as .weights.h5:
    "layers/CLASS_NUMBER" counts the layers of a class in the order of `Model.layers`. The dense layers have no such names:
    those of a head of the user's own would have the same.
    """

    has_other_layers: ClassVar[bool] = True

    prefixes: tuple[tuple[str, str], ...] = ()
    network: Network
    names: Naming
    dense: tuple[tuple[str, str], ...]
    scale: bool = True
    by_position: bool = False

    @property
    def can_be_written(self) -> bool:
        """Whether files of this layout are written, not only read."""
        return not self.by_position

    def theirs(self, key: str) -> str:
        """Return Keras's name for our `key`; a key that Keras has no name for is returned unchanged."""
        return self._keys.get(key, key)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers in the order of `Model.layers`, which is that of Keras's files."""
        return tuple(layer.name for layer in self._layers)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {key: f"{layer.name}.{variable}" for layer in self._layers for variable, key in layer.variables.items()}

    @cached_property
    def _layers(self) -> list[_KerasLayer]:
        created = _numbered([_named(layer, self.names) for layer in _network_layers(self.network)])
        ordered = sorted(created, key=lambda layer: -layer.distance)  # a stable sort: ties stay in the order of creation
        if self.by_position:
            numbered = _numbered([replace(layer, name="") for layer in ordered])
            ordered = [replace(layer, name=f"layers/{layer.name}") for layer in numbered]
        return [*ordered, *(_head_layer(ours, name) for ours, name in self.dense)]


def numbered(path: str) -> str:  # noqa: ARG001  # the signature of `KerasLayout.names`
    """Return "": Keras numbers all layers of the network."""
    return ""


def keras_layouts(
    network: Network, names: Naming, *, dense: tuple[tuple[str, str], ...], **options: Any
) -> tuple[Layout, Layout]:
    """Return Keras's layout of a network, and that of files without names. `options` are other fields of `KerasLayout`."""
    named = KerasLayout(name="keras", network=network, names=names, dense=dense, **options)
    return named, replace(named, name="keras without names", by_position=True)


def keras_weights(
    name: str,
    md5: str,
    md5_without_top: str,
    *,
    data: DataConfig,
    license: str,
    top1: float,
    without_top: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Published]:
    """Return Keras's ImageNet weights of a model, with the classifier and without, by tag.

    `name` is the model's in the URL. The checksums are those in the sources of the package `keras`. `options` are other fields
    of `Published` for both files, `without_top` of the one without the classifier.
    """

    def row(end: str, digest: str, **fields: Any) -> Published:
        url = URL.format(name=name, end=end)
        return Published(url=url, digest=f"md5:{digest}", license=license, layout="keras", data=data, **{**options, **fields})

    without = row("_notop", md5_without_top, num_classes=0, headless=True, **(without_top or {}))
    return {"keras_in1k": row("", md5, top1=top1), "keras_in1k_notop": without}


def _network_layers(network: Network) -> list[_KerasLayer]:
    """Return Keras's layers for the stages of a network, in the order of creation."""
    after, stages = 0, []
    for name, stage in reversed(network.stages):
        layers, after = _layers(stage, f"features.{name}", after)
        stages.append(layers)
    return [layer for layers in reversed(stages) for layer in layers]


def _layers(layer: Layer, path: str, after: int) -> tuple[list[_KerasLayer], int]:
    """Return Keras's layers for one of ours, in the order of creation, and their number on the longest way to the output."""
    match layer:
        case Conv():
            return _conv(layer, path, after)
        case Chain():
            return _chain(layer, path, after)
        case Concat():
            return _side_by_side(layer.branches, path, after + 1)
        case Residual():
            return _residual(layer, path, after)
        case _:
            return [], after + 1


def _conv(layer: Conv, path: str, after: int) -> tuple[list[_KerasLayer], int]:
    after += layer.act
    norms = [_KerasLayer("", _norm(f"{path}.bn"), after + 1)] if layer.norm else []
    after += layer.norm
    conv = _KerasLayer("", {"kernel": f"{path}.conv.weight", "bias": f"{path}.conv.bias"}, after + 1)
    return [conv, *norms], after + 1


def _norm(path: str) -> dict[str, str]:
    """Return {Keras's variable: our key} of the batch normalisation `path`."""
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    return {theirs: f"{path}.{ours}" for theirs, ours in names.items()}


def _head_layer(path: str, name: str) -> _KerasLayer:
    is_norm = path.endswith(".bn1")
    return _KerasLayer(name, _norm(path) if is_norm else {"kernel": f"{path}.weight", "bias": f"{path}.bias"}, 0)


def _chain(layer: Chain, path: str, after: int) -> tuple[list[_KerasLayer], int]:
    found: list[_KerasLayer] = []
    steps = list(enumerate(layer.layers))
    while steps:
        index, step = steps.pop()
        inner, after = _layers(step, f"{path}.{index}", after)
        if steps and isinstance(steps[-1][1], Depthwise):  # it and the 1x1 convolution are one layer of Keras
            index, _ = steps.pop()
            variables = {"depthwise_kernel": f"{path}.{index}.conv.weight", "pointwise_kernel": inner[0].variables["kernel"]}
            inner[0] = _KerasLayer("", variables, inner[0].distance)
        found = [*inner, *found]
    return found, after


def _side_by_side(branches: tuple[tuple[str, Layer], ...], path: str, after: int) -> tuple[list[_KerasLayer], int]:
    ways = [_layers(branch, f"{path}.{name}", after) for name, branch in branches]
    return [layer for found, _ in ways for layer in found], max(before for _, before in ways)


def _residual(layer: Residual, path: str, after: int) -> tuple[list[_KerasLayer], int]:
    """The sum is a layer; so is the scaling of FaceNet's and Inception-ResNet's blocks, which does not change the order."""
    after += layer.act + 1
    project = _KerasLayer("", {"kernel": f"{path}.project.conv.weight", "bias": f"{path}.project.conv.bias"}, after + 1)
    projects = [project] if layer.project else []
    ways = [_layers(layer.body, f"{path}.body", after + len(projects))]
    ways += [] if layer.shortcut is None else [_layers(layer.shortcut, f"{path}.shortcut", after)]
    return [*ways[0][0], *projects, *(ways[1][0] if len(ways) > 1 else [])], max(before for _, before in ways)


def _named(layer: _KerasLayer, names: Naming) -> _KerasLayer:
    """Return the layer with the name that Keras's code gives it, or ""."""
    key = list(layer.variables.values())[-1]
    return replace(layer, name=names(key.rpartition(".")[0].removesuffix(".conv")))


def _numbered(layers: list[_KerasLayer]) -> list[_KerasLayer]:
    """Return the layers, those without a name numbered by their class."""
    counts: Counter[str] = Counter()
    numbered = []
    for layer in layers:
        name = layer.name
        if not name:
            name = f"{layer.kind}_{counts[layer.kind]}" if counts[layer.kind] else layer.kind
            counts[layer.kind] += 1
        numbered.append(replace(layer, name=name))
    return numbered
