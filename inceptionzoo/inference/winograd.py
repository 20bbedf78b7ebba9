"""A stride-1 convolution by Winograd's minimal filtering: tiles, a product of matrices for each place of a tile, maps."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from .machine import by_pixel, run, vector
from .packed import Geometry, convolve, packed
from .tiles import transforms
from .toom_cook import filtering
from .writer import Work

OUTPUTS = {1: 1, 3: 4, 5: 4, 7: 4}  # by taps along an axis: how many outputs a tile gives
CACHE = 4 << 20  # bytes of tiles that are worked on at a time
MOST = 4096  # channels


def suits(conv: nn.Conv2d) -> bool:
    """Return whether the convolution can run so."""
    channels = conv.in_channels, conv.out_channels
    return (
        all(taps in OUTPUTS for taps in conv.kernel_size)
        and max(conv.kernel_size) > 1
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and max(channels) <= MOST
        and not any(count % 4 for count in channels)
    )


class Winograd:
    """A convolution with bias of (n, c, h, w), channels_last, and ReLU where `relu`.

    Its weights are transformed once, and laid out for inputs of `shape`; it takes others too, maybe slowly.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool, shape: Sequence[int]) -> None:
        assert conv.bias is not None
        self.kernel, self.padding = conv.kernel_size, [int(side) for side in conv.padding]
        self.bias, self.relu = conv.bias.detach(), relu
        filters = [filtering(OUTPUTS[taps], taps) for taps in conv.kernel_size]
        self.steps = [len(axis.outputs) for axis in filters]
        self.places = prod(len(axis.inputs) for axis in filters)
        self.geometry = Geometry([0, 0], [1, 1], [1, 1], self.places)
        down, across = (torch.tensor(axis.filter, dtype=torch.float64) for axis in filters)
        weight = torch.einsum("ai,kcij,bj->abkc", down, conv.weight.detach().double(), across).float()
        weight = weight.reshape(self.places * conv.out_channels, conv.in_channels, 1, 1)
        self.widest = max(conv.in_channels, conv.out_channels)
        self.weight = packed(weight, self.geometry, [1, self.places * conv.in_channels, 1, self._step(shape)])
        self.outside = torch.zeros(conv.in_channels)
        self.transforms = transforms(*filters, vector(conv.in_channels, conv.out_channels))

    def __call__(self, x: Tensor) -> Tensor:
        x = by_pixel(x)
        count, channels, *sides = x.shape
        height, width = self._sides(x.shape)
        _, rows, columns = self._tiles(x.shape)
        y = torch.empty((count, len(self.bias), height, width), memory_format=torch.channels_last)
        into = Work(
            source=x.data_ptr(), outside=self.outside.data_ptr(), height=sides[0], width=sides[1], top=self.padding[0],
            left=self.padding[1], rows=rows, columns=columns, channels=channels, stride=x.stride(3),
        )  # fmt: skip
        out = Work(
            target=y.data_ptr(), bias=self.bias.data_ptr(), height=height, width=width, rows=rows, columns=columns,
            channels=len(self.bias), stride=len(self.bias), relu=self.relu,
        )  # fmt: skip
        tiles, step = count * rows * columns, self._step(x.shape)
        for last in range(step, tiles + step, step):
            into.last = out.last = min(last, tiles)
            into.first = out.first = max(0, into.last - step)
            self._run(into, out, step)
        return y

    def _sides(self, shape: Sequence[int]) -> list[int]:
        return [side + 2 * pad - taps + 1 for side, pad, taps in zip(shape[2:], self.padding, self.kernel, strict=True)]

    def _tiles(self, shape: Sequence[int]) -> list[int]:
        return [shape[0], *(-(-side // step) for side, step in zip(self._sides(shape), self.steps, strict=True))]

    def _step(self, shape: Sequence[int]) -> int:
        """Return how many tiles are worked on at a time: equal parts that the cache holds, in eights, as oneDNN likes them."""
        tiles = prod(self._tiles(shape))
        parts = max(1, round(tiles * self.places * self.widest * 4 / CACHE))
        return -(-tiles // (8 * parts)) * 8

    def _run(self, into: Work, out: Work, step: int) -> None:
        tiles = _workspace(step, self.places * into.channels)  # always as many: another size can be far slower
        into.target = tiles.data_ptr()
        run(self.transforms.gather, into)
        products = convolve(tiles, self.weight, None, self.geometry, relu=False)
        out.source = products.data_ptr()
        run(self.transforms.scatter, out)


_KEPT = threading.local()


def _workspace(tiles: int, channels: int) -> Tensor:
    """Return memory for tiles, (1, channels, 1, tiles), channels_last; a thread's next call has the same."""
    size = tiles * channels
    if getattr(_KEPT, "memory", None) is None or len(_KEPT.memory) < size:
        _KEPT.memory = torch.empty(size)
    memory: Tensor = _KEPT.memory
    return memory[:size].view(1, 1, tiles, channels).permute(0, 3, 1, 2)
