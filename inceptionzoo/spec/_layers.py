"""The vocabulary: a network is a value built from a few frozen dataclasses, with no torch in it.

Shapes are (channels, height, width). A layer never names the width of its input: whoever reads the value threads it through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

from ..errors import SpecError, check_flag, check_int, check_number, check_rate

Size = int | tuple[int, int]
Padding = Literal["half", "same", "valid"]


def as_pair(size: Size) -> tuple[int, int]:
    """Return (height, width) of a kernel size."""
    return (size, size) if isinstance(size, int) else size


def dilated_extent(kernel: Size, dilation: int) -> tuple[int, int]:
    """Return how many pixels a dilated kernel spans, (height, width)."""
    height, width = as_pair(kernel)
    return (height - 1) * dilation + 1, (width - 1) * dilation + 1


def half_padding(kernel: Size, padding: Padding, dilation: int = 1) -> tuple[int, int]:
    """Return the fixed padding on each side, (height, width); every padding in the library is derived here.

    "half" pads (reach - 1) // 2; "valid" not at all; "same" pads what its input size asks for, outside the layer.
    """
    height, width = dilated_extent(kernel, dilation)
    return ((height - 1) // 2, (width - 1) // 2) if padding == "half" else (0, 0)


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution, then normalisation and ReLU as its network's `Style` says: (c, h, w) -> (out, h / stride, w / stride).

    `padding`: "half" pads (kernel - 1) // 2 on every side; "same" is TensorFlow's, asymmetric where need be; "valid" is none.
    `dilation` is the step between the kernel's taps. `norm` and `act` set to False leave the step out; `bias` overrides
    the style.
    """

    out: int
    kernel: Size = 1
    stride: int = 1
    padding: Padding = "half"
    _: KW_ONLY
    groups: int = 1
    dilation: int = 1
    norm: bool = True
    act: bool = True
    bias: bool | None = None

    def __post_init__(self) -> None:
        _positive(self, out=self.out, stride=self.stride, groups=self.groups, dilation=self.dilation)
        _kernel(self, self.kernel)
        _padding(self, self.padding, self.kernel, self.stride)
        _flags(self, norm=self.norm, act=self.act, bias=False if self.bias is None else self.bias)
        if self.out % self.groups:
            raise SpecError(f"{self}: out must be divisible by groups")


@dataclass(frozen=True, slots=True)
class Depthwise:
    """A convolution of each channel by itself, linear and without normalisation: (c, h, w) -> (multiplier * c, ...).

    With a 1x1 `Conv` after it, it is a separable convolution.
    """

    kernel: Size = 3
    stride: int = 1
    padding: Padding = "half"
    _: KW_ONLY
    multiplier: int = 1
    dilation: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        _positive(self, stride=self.stride, multiplier=self.multiplier, dilation=self.dilation)
        _kernel(self, self.kernel)
        _padding(self, self.padding, self.kernel, self.stride)
        _flags(self, bias=self.bias)

    def conv(self, in_channels: int) -> Conv:
        """Return the same as a grouped convolution of `in_channels` channels."""
        out = self.multiplier * in_channels
        plain = Conv(out, self.kernel, self.stride, self.padding, groups=in_channels, norm=False, act=False, bias=self.bias)
        return replace(plain, dilation=self.dilation)


@dataclass(frozen=True, slots=True)
class Act:
    """A ReLU on its own, for networks that activate before they convolve."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Pooling: (c, h, w) -> (c, h / stride, w / stride).

    `ceil` rounds the output size up; "pad" does so by padding, for runtimes that only round down: the same maximum.
    `include_pad` lets an average count the padding's zeros.
    The kind "adaptive_avg" averages to a map of `kernel` pixels whatever comes in.
    """

    kind: Literal["max", "avg", "adaptive_avg"]
    kernel: Size = 3
    stride: int = 1
    padding: Padding = "half"
    _: KW_ONLY
    ceil: bool | Literal["pad"] = False
    include_pad: bool = True
    dilation: int = 1

    def __post_init__(self) -> None:
        _among(self, "kind", self.kind, ("max", "avg", "adaptive_avg"))
        _positive(self, stride=self.stride, dilation=self.dilation)
        if self.dilation > 1 and self.kind != "max":
            raise SpecError(f"{self}: only a max pool can be dilated")
        if self.dilation > 1 and self.padding == "half":
            raise SpecError(f"{self}: a dilated pool needs padding='same' or 'valid'")
        _kernel(self, self.kernel)
        _padding(self, self.padding, self.kernel, self.stride)
        _flags(self, ceil=self.ceil == "pad" or self.ceil, include_pad=self.include_pad)
        if self.ceil == "pad" and (self.kind != "max" or self.padding == "same" or min(as_pair(self.kernel)) < self.stride):
            raise SpecError(f"{self}: ceil='pad' needs a max pool whose kernel is at least its stride, and no padding='same'")
        symmetric = self.stride == 1 and all(side % 2 for side in as_pair(self.kernel))
        if self.padding == "same" and self.kind == "avg" and not symmetric:
            raise SpecError(f"{self}: an average with padding='same' needs stride=1 and an odd kernel; use 'half' or 'valid'")


@dataclass(frozen=True, slots=True)
class Norm:
    """Normalisation on its own: the network's own kind, or local response normalisation ("lrn").

    LRN divides by (k + alpha / size * sum of squares over `size` neighbouring channels) ** beta.
    """

    kind: Literal["style", "lrn"] = "style"
    _: KW_ONLY
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        _among(self, "kind", self.kind, ("style", "lrn"))
        _positive(self, size=self.size)
        _numbers(self, alpha=self.alpha, beta=self.beta, k=self.k)


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers one after the other. Made by `chain`."""

    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Concat:
    """Named branches on the same input, concatenated along channels. Made by `concat`."""

    branches: tuple[tuple[str, Layer], ...]


@dataclass(frozen=True, slots=True)
class Residual:
    """shortcut(x) + scale * project(body(x)), then ReLU where `act`: shape-preserving unless there is a shortcut.

    `project` brings the body to the input's width by a 1x1 convolution with bias, linear and without normalisation.
    `drop_path` is the share of images whose body is left out in training, at random (stochastic depth).
    """

    body: Layer
    _: KW_ONLY
    scale: float = 1.0
    project: bool = True
    shortcut: Layer | None = None
    act: bool = True
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        _layers("Residual", {"body": self.body, **({} if self.shortcut is None else {"shortcut": self.shortcut})})
        _flags(self, project=self.project, act=self.act)
        _numbers(self, scale=self.scale)
        check_rate("drop_path", self.drop_path, error=SpecError)


@dataclass(frozen=True, slots=True)
class Op:
    """Any module of one's own: `make(in_channels)` returns it, `out` is its width.

    `stride` and `cost` (parameters, multiply-adds per output position) may be stated; unstated means that the layer
    keeps height and width, and that its cost is unknown.
    """

    make: Callable[[int], object]
    out: int
    _: KW_ONLY
    stride: int = 1
    cost: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _positive(self, out=self.out, stride=self.stride)
        if not callable(self.make):
            raise SpecError(f"{self}: make must be callable with the number of input channels")
        counts = self.cost if isinstance(self.cost, tuple) else (self.cost,)
        if self.cost is not None and (len(counts) != 2 or any(type(count) is not int or count < 0 for count in counts)):
            raise SpecError(f"Op: cost={self.cost!r} must be (parameters, multiply-adds per output position), or None")


Layer = Conv | Depthwise | Pool | Norm | Act | Chain | Concat | Residual | Op
LAYERS = (Conv, Depthwise, Pool, Norm, Act, Chain, Concat, Residual, Op)


def chain(*layers: Layer) -> Layer:
    """Return the layers one after the other; a single one is returned as it is."""
    _layers("chain", {str(index): layer for index, layer in enumerate(layers)})
    return layers[0] if len(layers) == 1 else Chain(layers)


def concat(**branches: Layer) -> Concat:
    """Return named branches whose outputs are concatenated along channels; the names become state-dict keys."""
    _layers("concat", branches)
    return Concat(tuple(branches.items()))


def check_layer(name: str, layer: object) -> None:
    """Check that `layer` is one.

    Raises:
        SpecError: it is not; the message lists the kinds.
    """
    if not isinstance(layer, LAYERS):
        raise SpecError(f"{name}={layer!r} must be a layer, one of {', '.join(kind.__name__ for kind in LAYERS)}")


def _layers(what: str, layers: dict[str, Layer]) -> None:
    if not layers:
        raise SpecError(f"{what}() needs at least one layer")
    for name, layer in layers.items():
        check_layer(f"{what}: {name}", layer)


def _positive(spec: object, **values: object) -> None:
    for name, value in values.items():
        check_int(f"{type(spec).__name__}: {name}", value, 1, error=SpecError)


def _flags(spec: object, **values: object) -> None:
    for name, value in values.items():
        check_flag(f"{type(spec).__name__}: {name}", value, error=SpecError)


def _numbers(spec: object, **values: object) -> None:
    for name, value in values.items():
        check_number(f"{type(spec).__name__}: {name}", value, error=SpecError)


def _kernel(spec: object, kernel: Size) -> None:
    sides = kernel if isinstance(kernel, tuple) else (kernel,)
    if isinstance(kernel, tuple) and len(kernel) != 2:
        raise SpecError(f"{type(spec).__name__}: kernel={kernel!r} must be an int or a (height, width)")
    for side in sides:
        _positive(spec, kernel=side)


def _padding(spec: object, padding: str, kernel: Size, stride: int) -> None:
    _among(spec, "padding", padding, ("half", "same", "valid"))
    if padding == "same" and kernel not in (1, (1, 1)) and min(as_pair(kernel)) < stride:
        raise SpecError(f"{spec}: padding='same' needs a kernel of one pixel or of at least the stride")


def _among(spec: object, name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SpecError(f"{type(spec).__name__}: {name}={value!r} must be one of {', '.join(map(repr, choices))}")
