"""A whole network as a value: named stages, the style of its convolutions, its head and its auxiliary heads. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import ArgumentError, SpecError, check_choice, check_int, check_rate
from .spec import LAYERS, Layer

GlobalPool = Literal["avg", "max", "avgmax", "catavgmax", ""]
GLOBAL_POOLS: tuple[GlobalPool, ...] = ("avg", "max", "avgmax", "catavgmax", "")
Norms = Literal["batch", "group", "layer"]
NORMS: tuple[Norms | None, ...] = ("batch", "group", "layer", None)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "silu", "gelu", "mish", "hard_swish")
HeadKind = Literal["pool", "mlp", "conv", "embed"]
HEAD_KINDS: tuple[HeadKind, ...] = ("pool", "mlp", "conv", "embed")


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
        if isinstance(self.eps, bool) or not isinstance(self.eps, int | float) or not 0 < self.eps < float("inf"):
            raise ArgumentError(f"eps={self.eps!r} must be above 0, and a finite number")
        if not isinstance(self.bias, bool):
            raise ArgumentError(f"bias={self.bias!r} must be True or False")


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
        check_choice("head", self.kind, HEAD_KINDS)
        check_choice("norm", self.norm, ("batch", "layer"))
        check_int("size", self.size, 1)
        check_rate("drop_rate", self.drop_rate)
        if not isinstance(self.hidden, tuple) or any(type(out) is not int or out < 1 for out in self.hidden):
            raise SpecError(f"Head: hidden={self.hidden!r} must be a tuple of widths, each an int of at least 1")
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


@dataclass(frozen=True, slots=True)
class Network:
    """A network as a table. Made by `network`."""

    stages: tuple[tuple[str, Layer], ...]
    head: Head
    style: Style
    aux: tuple[Aux, ...]
    taps: tuple[str, ...] = ()  # stages that end a resolution, where strides do not tell: a dilated network keeps its levels

    def __post_init__(self) -> None:
        names = [name for name, _ in self.stages]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SpecError(f"network: stage {twice!r} stands twice; every stage needs a name of its own")
        for name, layer in self.stages:
            if not isinstance(layer, LAYERS):
                raise SpecError(f"network: stage {name}={layer!r} must be a layer, made of {_kinds()}")
        for what, value, kind in (("head", self.head, Head), ("style", self.style, Style)):
            if not isinstance(value, kind):
                raise SpecError(f"network: {what}={value!r} must be a {kind.__name__}, as {kind.__name__}() is one")
        if not isinstance(self.aux, tuple) or not all(isinstance(aux, Aux) for aux in self.aux):
            raise SpecError(f"network: aux={self.aux!r} must be a tuple of Aux(tap, layers, head)")
        for aux in self.aux:
            if aux.tap not in names:
                raise SpecError(f"network: aux tap {aux.tap!r} must be one of the stages {', '.join(names)}")


def _kinds() -> str:
    return ", ".join(kind.__name__ for kind in LAYERS)


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
    named = [item for part in (*parts, stages) for item in part.items()]
    if not named:
        raise SpecError("network() needs at least one stage, as in network(conv1=Conv(64, 7, 2))")
    return Network(tuple(named), head or Head(), style or Style(), aux)
