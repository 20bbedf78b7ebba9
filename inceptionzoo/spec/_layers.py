"""Specifications of the layers that contain layers or a module of the user's, and the union of all kinds, `Layer`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

from ..errors import SpecError, check_rate
from ._basic_layers import Act, Conv, Depthwise, Norm, Pool
from ._checks import check_factory, check_flags, check_numbers, check_positive, check_sizes
from ._geometry import Size


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers that run one after the other. Create it with `chain`."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.layers, tuple):
            raise SpecError(f"Chain: layers={self.layers!r} must be a tuple of layers; use chain(...)")
        _check_layers("Chain", {str(index): layer for index, layer in enumerate(self.layers)})


@dataclass(frozen=True, slots=True)
class Concat:
    """Named branches on the same input, whose outputs are concatenated along channels. Create it with `concat`."""

    branches: tuple[tuple[str, Layer], ...]

    def __post_init__(self) -> None:
        pairs = self.branches if isinstance(self.branches, tuple) else (self.branches,)
        names = {pair[0] for pair in pairs if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)}
        if len(names) < len(pairs):
            raise SpecError(
                f"Concat: branches={self.branches!r:.200} must be pairs (name, layer) of different names; use concat(...)"
            )
        _check_layers("Concat", dict(pairs))


@dataclass(frozen=True, slots=True)
class Residual:
    """act(shortcut(x) + scale * project(body(x))): (c, h, w) -> (c, h, w), or the shape that `shortcut` gives.

    `shortcut=None` is the identity. `project=True` adds a 1x1 convolution after the body that gives the shortcut's number of
    channels; it has a bias, but no normalisation or activation. With `project=False` the body must give that number itself.
    `act=False` leaves out the activation after the sum. `drop_path` is the probability that training drops the body for an
    image (stochastic depth).

    Raises:
        SpecError: a field is outside its range.
    """

    body: Layer
    _: KW_ONLY
    scale: float = 1.0
    project: bool = True
    shortcut: Layer | None = None
    act: bool = True
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        _check_layers("Residual", {"body": self.body, **({} if self.shortcut is None else {"shortcut": self.shortcut})})
        check_flags(self, project=self.project, act=self.act)
        check_numbers(self, scale=self.scale)
        check_rate("drop_path", self.drop_path, error=SpecError)


@dataclass(frozen=True, slots=True)
class Op:
    """A user-defined module: `make(in_channels)` returns an `nn.Module` that gives `out` channels.

    `stride` is the factor by which the module reduces each side of the map. Its output sizes must be rounded up. `cost` is
    (parameters, multiply-adds per output position), or None if they are unknown.

    Raises:
        SpecError: a field is outside its range, or `make` cannot be called.
    """

    make: Callable[[int], object] = field(hash=False)  # it need not be hashable
    out: int
    _: KW_ONLY
    stride: Size = 1
    cost: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_positive(self, out=self.out)
        check_sizes(self, stride=self.stride)
        if not callable(self.make):
            raise SpecError(f"{self}: make must be callable with the number of input channels")
        check_factory("Op: make", self.make)
        counts = self.cost if isinstance(self.cost, tuple) else (self.cost,)
        if self.cost is not None and (len(counts) != 2 or any(type(count) is not int or count < 0 for count in counts)):
            raise SpecError(f"Op: cost={self.cost!r} must be (parameters, multiply-adds per output position), or None")


Layer = Conv | Depthwise | Pool | Norm | Act | Chain | Concat | Residual | Op
LAYERS = (Conv, Depthwise, Pool, Norm, Act, Chain, Concat, Residual, Op)


def chain(*layers: Layer) -> Layer:
    """Return one layer that runs the layers in order. A single layer is returned as it is.

    Raises:
        SpecError: there is no layer, or one of them is not a layer.
    """
    _check_layers("chain", {str(index): layer for index, layer in enumerate(layers)})
    return layers[0] if len(layers) == 1 else Chain(layers)


def concat(**branches: Layer) -> Concat:
    """Return a layer of parallel branches, concatenated along channels: (c, h, w) -> (sum of channels, h', w').

    The branch names become part of state-dict keys. The branches must give maps of the same height and width.

    Raises:
        SpecError: there is no branch, or one of them is not a layer.
    """
    _check_layers("concat", branches)
    return Concat(tuple(branches.items()))


def check_layer(name: str, layer: object) -> None:
    """Raise SpecError if `layer` is not a layer; the message lists the kinds."""
    if not isinstance(layer, LAYERS):
        raise SpecError(f"{name}={layer!r} must be a layer, one of {', '.join(kind.__name__ for kind in LAYERS)}")


def _check_layers(function: str, layers: dict[str, Layer]) -> None:
    if not layers:
        raise SpecError(f"{function}() needs at least one layer")
    for name, layer in layers.items():
        check_layer(f"{function}: {name}", layer)
