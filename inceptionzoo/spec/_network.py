"""A whole network as a value: named stages, the style of its convolutions, its head and its auxiliary heads. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ArgumentError, SpecError, check_choice, check_flag, check_int, check_number, check_rate, check_text
from ._layers import Layer, check_layer

GlobalPool = Literal["avg", "max", "avgmax", "catavgmax", ""]
GLOBAL_POOLS: tuple[GlobalPool, ...] = ("avg", "max", "avgmax", "catavgmax", "")
Norms = Literal["batch", "group", "layer"]
NORMS: tuple[Norms | None, ...] = ("batch", "group", "layer", None)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "silu", "gelu", "mish", "hard_swish")
HeadKind = Literal["pool", "mlp", "conv", "embed"]
HEAD_KINDS: tuple[HeadKind, ...] = ("pool", "mlp", "conv", "embed")
MAX_STAGES = 1000  # Inception-ResNet-v2 has 50; what has so many more is a mistake or hostile


@dataclass(frozen=True, slots=True)
class Style:
    """What every convolution of a network shares: normalisation with its epsilon, bias, activation.

    `norm` None leaves normalisation out; "group" has groups of channels, "layer" one. A callable takes the number of
    channels (`norm`) or nothing (`act`) and returns a module.
    """

    norm: Norms | Callable[[int], Any] | None = "batch"
    eps: float = 1e-3
    bias: bool = False
    act: str | Callable[[], Any] = "relu"

    def __post_init__(self) -> None:
        if not callable(self.norm):
            check_choice("norm", self.norm, NORMS)
        if not callable(self.act):
            check_choice("act", self.act, ACTIVATIONS)
        check_number("eps", self.eps)
        if not self.eps:
            raise ArgumentError(f"eps={self.eps!r} must be above 0")
        check_flag("bias", self.bias)


@dataclass(frozen=True, slots=True)
class Head:
    """From the feature map (c, h, w) to the logits.

    "pool": global pool, dropout, linear. "mlp": pool to `size` x `size`, flatten, `hidden` dense layers with ReLU and
    dropout, linear: VGG's. "conv": the same layers slid over the map as convolutions, averaged after: timm's VGG.
    "embed": global pool, dropout, a linear layer of width `hidden[0]` without bias, normalisation, linear: FaceNet's. `norm`
    is that normalisation: "batch", or "layer", which takes each vector by itself.
    """

    kind: HeadKind = "pool"
    hidden: tuple[int, ...] = ()
    size: int = 1
    drop_rate: float = 0.0
    norm: Literal["batch", "layer"] = "batch"

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, HEAD_KINDS)
        check_choice("norm", self.norm, ("batch", "layer"))
        check_int("size", self.size, 1)
        check_rate("drop_rate", self.drop_rate)
        if not isinstance(self.hidden, tuple):
            raise SpecError(f"Head: hidden={self.hidden!r} must be a tuple of widths, as (4096, 4096) is one")
        for out in self.hidden:
            check_int(f"Head: in hidden={self.hidden!r}, width", out, 1, error=SpecError)
        if (self.kind == "pool") != (not self.hidden):
            raise SpecError(
                f"{self}: hidden layers belong to a head of kind 'mlp', 'conv' or 'embed', which needs at least one"
            )
        if self.kind == "embed" and (len(self.hidden) != 1 or self.size != 1):
            raise SpecError(f"{self}: a head of kind 'embed' has one hidden layer, on a pooled vector (size=1)")


@dataclass(frozen=True, slots=True)
class Aux:
    """An auxiliary head on the output of stage `tap`; `weight` is its share in the training loss."""

    tap: str
    layers: Layer
    head: Head
    weight: float = 0.3

    def __post_init__(self) -> None:
        check_text("Aux: tap", self.tap, error=SpecError)
        check_layer("Aux: layers", self.layers)
        if not isinstance(self.head, Head):
            raise SpecError(f"Aux: head={self.head!r} must be a Head, as Head() is one")
        check_number("Aux: weight", self.weight, error=SpecError)


@dataclass(frozen=True, slots=True)
class Network:
    """A network as a table. Made by `network`."""

    stages: tuple[tuple[str, Layer], ...]
    head: Head
    style: Style
    aux: tuple[Aux, ...]
    taps: tuple[str, ...] = ()  # stages that end a resolution, where strides do not tell: a dilated network keeps its levels

    def __post_init__(self) -> None:
        if len(self.stages) > MAX_STAGES:
            raise SpecError(f"network: {len(self.stages)} stages must be {MAX_STAGES} at most; put layers together by chain")
        names = set()
        for name, layer in self.stages:
            check_text("network: the name of a stage", name, error=SpecError)
            check_layer(f"network: stage {name}", layer)
            if name in names:
                raise SpecError(f"network: stage {name!r} stands twice; every stage needs a name of its own")
            names.add(name)
        for what, value, kind in (("head", self.head, Head), ("style", self.style, Style)):
            if not isinstance(value, kind):
                raise SpecError(f"network: {what}={value!r} must be a {kind.__name__}, as {kind.__name__}() is one")
        if not isinstance(self.aux, tuple) or not all(isinstance(aux, Aux) for aux in self.aux):
            raise SpecError(f"network: aux={self.aux!r} must be a tuple of Aux(tap, layers, head)")
        for aux in self.aux:
            if aux.tap not in names:
                raise SpecError(f"network: aux tap {aux.tap!r} must be one of the stages {', '.join(dict(self.stages))}")


def network(
    *parts: Mapping[str, Layer],
    head: Head | None = None,
    style: Style | None = None,
    aux: tuple[Aux, ...] = (),
    **stages: Layer,
) -> Network:
    """Return the network of these stages, in order; their names become state-dict keys.

    Stages are keyword arguments, or mappings that stand before them: `network(stem, table, last=Conv(64))`.

    Raises:
        SpecError: there is no stage, two share a name, one is no layer, or an auxiliary head taps none of them.
    """
    for part in parts:
        if not isinstance(part, Mapping):
            raise SpecError(f"network: {part!r} must be a mapping of names to layers, or a keyword argument NAME=layer")
    named = [item for part in (*parts, stages) for item in part.items()]
    if not named:
        raise SpecError("network() needs at least one stage, as in network(conv1=Conv(64, 7, 2))")
    return Network(tuple(named), Head() if head is None else head, Style() if style is None else style, aux)
