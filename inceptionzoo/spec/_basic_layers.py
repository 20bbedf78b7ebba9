"""Specifications of the layers that contain no other layer: frozen dataclasses without torch.

Shapes are (channels, height, width) of one image's feature map. A layer does not state the channels of its input, nor the
number of spatial dimensions: `build` and the cost functions pass them from layer to layer. In one dimension a map is (channels,
length), in three (channels, depth, height, width). A kernel, stride or dilation is one int for all dimensions, or a tuple of
one int per dimension.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

from ..errors import SpecError
from ._checks import check_flags, check_numbers, check_one_of, check_padding, check_positive, check_sizes
from ._geometry import Padding, Size, is_one, make_window


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution, then the normalisation and the activation of the network's `Style`: (c, h, w) -> (out, h', w').

    `kernel` is an int or (height, width). `groups` and `dilation` are those of torch's convolutions. `norm=False` and
    `act=False` leave that step out. `bias` overrides the style's bias; None keeps it. On an input of fewer than
    `min_channels` channels the layer is left out, as is the bottleneck of InceptionTime for one channel.

    `padding` is one of three kinds. The dilated kernel spans extent = (kernel - 1) * dilation + 1 pixels:

    - "half" pads (extent - 1) // 2 pixels on every side. With stride 1 and an odd kernel, h' = h.
    - "same" pads as TensorFlow does: h' = ceil(h / stride). An odd total puts the extra pixel at the bottom or right.
    - "valid" does not pad.

    With p pixels of padding on each side, "half" and "valid" give h' = (h + 2 * p - extent) // stride + 1.

    Raises:
        SpecError: a field is outside its range, or `groups` does not divide `out`.
    """

    out: int
    kernel: Size = 1
    stride: Size = 1
    padding: Padding = "half"
    _: KW_ONLY
    groups: int = 1
    dilation: Size = 1
    norm: bool = True
    act: bool = True
    bias: bool | None = None
    min_channels: int = 1

    def __post_init__(self) -> None:
        check_positive(self, out=self.out, groups=self.groups, min_channels=self.min_channels)
        dims = check_sizes(self, kernel=self.kernel, stride=self.stride, dilation=self.dilation)
        check_padding(self, self.padding, self.kernel, self.stride, dims)
        check_flags(self, norm=self.norm, act=self.act, bias=False if self.bias is None else self.bias)
        if self.out % self.groups:
            raise SpecError(f"{self}: out must be divisible by groups")
        if self.min_channels > 1 and not is_one(self.stride):
            raise SpecError(f"{self}: a layer that may be left out (min_channels above 1) needs stride=1")


@dataclass(frozen=True, slots=True)
class Depthwise:
    """A depthwise convolution, without normalisation or activation: (c, h, w) -> (multiplier * c, h', w').

    Each channel has `multiplier` filters of its own. A 1x1 `Conv` after it makes a depthwise separable convolution. `padding`
    is explained in `Conv`.

    Raises:
        SpecError: a field is outside its range.
    """

    kernel: Size = 3
    stride: Size = 1
    padding: Padding = "half"
    _: KW_ONLY
    multiplier: int = 1
    dilation: Size = 1
    bias: bool = False

    def __post_init__(self) -> None:
        check_positive(self, multiplier=self.multiplier)
        dims = check_sizes(self, kernel=self.kernel, stride=self.stride, dilation=self.dilation)
        check_padding(self, self.padding, self.kernel, self.stride, dims)
        check_flags(self, bias=self.bias)

    def conv(self, in_channels: int) -> Conv:
        """Return the equivalent grouped convolution for an input of `in_channels` channels."""
        out = self.multiplier * in_channels
        plain = Conv(out, self.kernel, self.stride, self.padding, groups=in_channels, norm=False, act=False, bias=self.bias)
        return replace(plain, dilation=self.dilation)


@dataclass(frozen=True, slots=True)
class Act:
    """The style's activation as a layer of its own, for networks that activate before a convolution: (c, h, w) -> (c, h, w)."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pooling layer: (c, h, w) -> (c, h', w'). `kind="adaptive_avg"` averages a map of any size to a map of `kernel` pixels.

    `padding` is explained in `Conv`. `ceil=True` rounds h' up instead of down. `ceil="pad"` gives the same output
    by padding at the bottom and right, for runtimes without a ceil mode. `include_pad` says whether an average counts the
    zeros of the padding. Only a max pool can have a dilation or `ceil="pad"`.

    Raises:
        SpecError: a field is outside its range, or the combination is not supported.
    """

    kind: Literal["max", "avg", "adaptive_avg"]
    kernel: Size = 3
    stride: Size = 1
    padding: Padding = "half"
    _: KW_ONLY
    ceil: bool | Literal["pad"] = False
    include_pad: bool = True
    dilation: Size = 1

    def __post_init__(self) -> None:
        check_one_of(self, "kind", self.kind, ("max", "avg", "adaptive_avg"))
        dims = check_sizes(self, kernel=self.kernel, stride=self.stride, dilation=self.dilation)
        is_dilated = not is_one(self.dilation)
        if is_dilated and self.kind != "max":
            raise SpecError(f"{self}: only a max pool can be dilated")
        if is_dilated and self.padding == "half":
            raise SpecError(f"{self}: a dilated pool needs padding='same' or 'valid'")
        check_padding(self, self.padding, self.kernel, self.stride, dims)
        check_flags(self, ceil=self.ceil == "pad" or self.ceil, include_pad=self.include_pad)
        if self.ceil == "pad" and (self.kind != "max" or self.padding == "same" or not self._always_meets_the_map(dims or 1)):
            raise SpecError(
                f"{self}: ceil='pad' needs a max pool whose kernel is at least its stride and padding together, and no "
                "padding='same'"
            )
        window = make_window(self.kernel, self.stride, self.dilation, self.padding, dims or 1)
        if self.padding == "same" and self.kind == "avg" and not window.is_centred:
            raise SpecError(f"{self}: an average with padding='same' needs stride=1 and an odd kernel; use 'half' or 'valid'")

    def _always_meets_the_map(self, dims: int) -> bool:
        """Return whether no window of `ceil="pad"` lies in the padding alone, for any size of the map."""
        window = make_window(self.kernel, self.stride, self.dilation, self.padding, dims)
        sides = zip(window.extent, window.stride, window.padding, strict=True)
        return all(extent >= stride + padding for extent, stride, padding in sides)


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation layer: (c, h, w) -> (c, h, w). "style" is that of the `Style`, "lrn" local response normalisation (LRN).

    LRN divides by (k + alpha / size * sum of squares over `size` neighbouring channels) ** beta.

    Raises:
        SpecError: a field is outside its range.
    """

    kind: Literal["style", "lrn"] = "style"
    _: KW_ONLY
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        check_one_of(self, "kind", self.kind, ("style", "lrn"))
        check_positive(self, size=self.size)
        check_numbers(self, alpha=self.alpha, beta=self.beta, k=self.k)
