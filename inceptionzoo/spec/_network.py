"""The specification of a network: named stages, the style of its convolutions, its head and its auxiliary heads. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from ..errors import ArgumentError, SpecError, check_choice, check_flag, check_int, check_number, check_rate, check_text
from ._checks import check_factory, check_sizes
from ._geometry import AXES, Size, as_tuple, is_one
from ._layers import LAYERS, Layer, check_layer
from ._taps import PRE
from ._walk import leaves

GlobalPool = Literal["avg", "max", "avgmax", "catavgmax", ""]
GLOBAL_POOLS: tuple[GlobalPool, ...] = ("avg", "max", "avgmax", "catavgmax", "")
Norms = Literal["batch", "group", "layer"]
NORMS: tuple[Norms | None, ...] = ("batch", "group", "layer", None)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "silu", "gelu", "mish", "hard_swish")
HeadKind = Literal["pool", "mlp", "conv", "embed"]
HEAD_KINDS: tuple[HeadKind, ...] = ("pool", "mlp", "conv", "embed")
TIME_PADDINGS = ("zeros", "replicate")
MAX_STAGES = 1000  # Inception-ResNet-v2 has 50


@dataclass(frozen=True, slots=True)
class Style:
    """What all layers of a network share: normalisation, bias, activation and the number of spatial dimensions.

    - `norm`: "batch"; "group", group normalisation with up to 32 groups of at least 4 channels each; "layer", group
      normalisation with one group; None; or a callable that takes the number of channels and returns a module.
    - `eps`: the epsilon of the normalisation; a callable `norm` does not get it.
    - `bias`: whether convolutions have a bias.
    - `act`: the name of an activation, for example "relu" or "silu", or a callable that returns a module.
    - `spatial_dims`: 1 for signals, 2 for images, 3 for volumes and videos.
    - `time_padding`: "zeros"; or, in three dimensions, "replicate": every layer then pads the first dimension with copies of
      its first and last frame, so that t frames become ceil(t / stride). A clip may have any length, and a still one gives the
      same map in every frame.

    Raises:
        ArgumentError: a field is outside its range.
    """

    norm: Norms | Callable[[int], Any] | None = field(default="batch", hash=False)  # a callable need not be hashable
    eps: float = 1e-3
    bias: bool = False
    act: str | Callable[[], Any] = field(default="relu", hash=False)
    spatial_dims: int = 2
    time_padding: Literal["zeros", "replicate"] = "zeros"

    def __post_init__(self) -> None:
        check_choice("spatial_dims", self.spatial_dims, AXES)
        check_choice("time_padding", self.time_padding, TIME_PADDINGS)
        if self.time_padding != "zeros" and self.spatial_dims != 3:
            raise ArgumentError(f"time_padding={self.time_padding!r} needs spatial_dims=3 (have {self.spatial_dims})")
        for name, value, choices in (("norm", self.norm, NORMS), ("act", self.act, ACTIVATIONS)):
            if not callable(value):
                check_choice(name, value, choices)
            else:
                check_factory(name, value, error=ArgumentError)
        check_number("eps", self.eps)
        if not self.eps:
            raise ArgumentError(f"eps={self.eps!r} must be above 0")
        check_flag("bias", self.bias)


@dataclass(frozen=True, slots=True)
class Head:
    """The layers from the last feature map to the logits: (c, h, w) -> (num_classes,).

    - "pool": global pooling, dropout, linear layer.
    - "mlp", as in the VGG paper: pooling to `size` x `size`, flattening, dense layers with ReLU and dropout, linear layer.
    - "conv", as timm's VGG: the dense layers of "mlp" as convolutions on the map, global pooling, dropout, linear layer.
    - "embed", as in FaceNet: global pooling, dropout, dense layer without bias or ReLU, normalisation, linear layer.

    `hidden` are the widths of the dense layers; "embed" has one. `size` is an int, or one per dimension. It is also the kernel
    of the first convolution of "conv".
    `drop_rate` is the dropout rate. `norm` is the normalisation of "embed": "batch" or "layer".

    Raises:
        ArgumentError, SpecError: a field is outside its range, or `hidden` or `size` does not belong to this kind.
    """

    kind: HeadKind = "pool"
    hidden: tuple[int, ...] = ()
    size: Size = 1
    drop_rate: float = 0.0
    norm: Literal["batch", "layer"] = "batch"

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, HEAD_KINDS)
        check_choice("norm", self.norm, ("batch", "layer"))
        check_sizes(self, size=self.size)
        check_rate("drop_rate", self.drop_rate)
        if not isinstance(self.hidden, tuple):
            raise SpecError(f"Head: hidden={self.hidden!r} must be a tuple of widths, for example (4096, 4096)")
        name = f"Head: in hidden={self.hidden!r:.200}, width"  # once: a file can give thousands of widths
        for out in self.hidden:
            check_int(name, out, 1, error=SpecError)
        if (self.kind == "pool") != (not self.hidden):
            raise SpecError(
                f"{self}: a head of kind 'mlp', 'conv' or 'embed' needs at least one hidden layer, and 'pool' takes none"
            )
        if self.kind == "embed" and (len(self.hidden) != 1 or not is_one(self.size)):
            raise SpecError(f"{self}: a head of kind 'embed' has one hidden layer, on a pooled vector (size=1)")


@dataclass(frozen=True, slots=True)
class Aux:
    """An auxiliary head for training: `layers`, then `head`, on the output of the stage named `tap`.

    `fit` adds `weight` times its loss to the loss of the network. `with_aux` adds the head to a model.

    Raises:
        SpecError: a field has the wrong type.
    """

    tap: str
    layers: Layer
    head: Head
    weight: float = 0.3

    def __post_init__(self) -> None:
        check_text("Aux: tap", self.tap, error=SpecError)
        check_layer("Aux: layers", self.layers)
        if not isinstance(self.head, Head):
            raise SpecError(f"Aux: head={self.head!r} must be a Head, for example Head()")
        check_number("Aux: weight", self.weight, error=SpecError)


@dataclass(frozen=True, slots=True)
class Network:
    """A network: named stages that run in order, then the head. Create it with `network`.

    `taps` names the last stage of each resolution; if it is empty, they follow from the strides. It is set when dilation
    replaces strides and when stages are removed, so that the network keeps its feature levels and their indices.
    """

    stages: tuple[tuple[str, Layer], ...]
    head: Head
    style: Style
    aux: tuple[Aux, ...]
    taps: tuple[str, ...] = ()

    @property
    def spatial_dims(self) -> int:
        """The number of spatial dimensions, that of the style."""
        return self.style.spatial_dims

    def __post_init__(self) -> None:
        if not isinstance(self.stages, tuple) or not all(isinstance(one, tuple) and len(one) == 2 for one in self.stages):
            raise SpecError(f"network: stages={self.stages!r:.200} must be a tuple of (name, layer); call network(NAME=layer)")
        if len(self.stages) > MAX_STAGES:
            raise SpecError(f"network: {len(self.stages)} stages must be at most {MAX_STAGES}; combine layers with chain()")
        names = set()
        for name, layer in self.stages:
            check_text("network: the name of a stage", name, error=SpecError)
            check_layer(f"network: stage {name}", layer)
            if name.endswith(PRE):
                raise SpecError(f"network: the name of stage {name!r} must not end in {PRE!r}, which names a map; rename it")
            if name in names:
                raise SpecError(f"network: stage {name!r} appears twice; give every stage its own name")
            names.add(name)
        for what, value, kind in (("head", self.head, Head), ("style", self.style, Style)):
            if not isinstance(value, kind):
                raise SpecError(f"network: {what}={value!r} must be a {kind.__name__}, for example {kind.__name__}()")
        if not isinstance(self.aux, tuple) or not all(isinstance(aux, Aux) for aux in self.aux):
            raise SpecError(f"network: aux={self.aux!r} must be a tuple of Aux(tap, layers, head)")
        for aux in self.aux:
            if aux.tap not in names:
                raise SpecError(f"network: aux tap {aux.tap!r} must be one of the stages {', '.join(dict(self.stages))}")
        if len({aux.tap for aux in self.aux}) < len(self.aux):
            raise SpecError(f"network: aux taps {[aux.tap for aux in self.aux]} must differ; a stage has at most one")
        if not isinstance(self.taps, tuple) or not all(tap in names for tap in self.taps):
            raise SpecError(f"network: taps={self.taps!r} must be a tuple of stages: {', '.join(dict(self.stages))}")
        self._check_dimensions()

    def _check_dimensions(self) -> None:
        """Check that each kernel, stride and dilation is an int or has one number per dimension."""
        aux = [(f"aux {aux.tap}", aux.layers) for aux in self.aux]
        for name, layer in (*self.stages, *aux):
            for leaf in leaves(layer):
                for size in ("kernel", "stride", "dilation"):
                    as_tuple(getattr(leaf, size, 1), self.spatial_dims, f"network: {name}: {size}")
        for head in (self.head, *(aux.head for aux in self.aux)):
            as_tuple(head.size, self.spatial_dims, "network: head: size")


def network(
    *parts: Mapping[str, Layer],
    head: Head | None = None,
    style: Style | None = None,
    aux: tuple[Aux, ...] = (),
    spatial_dims: Literal[1, 2, 3] | None = None,
    **stages: Layer,
) -> Network:
    """Return a network of these stages in this order. The stage names become part of state-dict keys.

    Stages are keyword arguments, or mappings from names to layers before them: `network(stem, table, last=Conv(64))`.
    `head` defaults to `Head()` and `style` to `Style()`. `aux` are the auxiliary heads, which only `with_aux` builds.
    `spatial_dims` is that of the style; None keeps it.

    Raises:
        SpecError: there is no stage, two have the same name, one is not a layer, or an `Aux` has a `tap` that is no stage.
    """
    for part in parts:
        if not isinstance(part, Mapping):
            raise SpecError(f"network: {part!r} must be a mapping of names to layers, or a keyword argument NAME=layer")
    named = [item for part in (*parts, stages) for item in part.items()]
    if not named:
        raise SpecError("network() needs at least one stage, as in network(conv1=Conv(64, 7, 2))")
    for name in (item.name for item in fields(Style)):
        if name in stages and not isinstance(stages[name], LAYERS):
            raise SpecError(f"network: {name}={stages[name]!r} is a field of Style and no stage; pass style=Style({name}=...)")
    style = Style() if style is None else style
    if not isinstance(style, Style):
        raise SpecError(f"network: style={style!r} must be a Style, for example Style()")
    if spatial_dims is not None:
        style = replace(style, spatial_dims=spatial_dims)
    return Network(tuple(named), Head() if head is None else head, style, aux)
