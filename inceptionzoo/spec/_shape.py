"""The shape of a feature map. No torch."""

from __future__ import annotations

from typing import Self


class Shape(tuple[int, ...]):
    """The shape of one image's feature map, (channels, height, width). It prints as height x width x channels: 28x28x192.

    In one dimension it is (channels, length), in three (channels, depth, height, width).
    """

    __slots__ = ()

    def __new__(cls, channels: int, *size: int) -> Self:
        return super().__new__(cls, (channels, *size))

    def __getnewargs__(self) -> tuple[int, ...]:
        return tuple(self)

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self[0]

    @property
    def size(self) -> tuple[int, ...]:
        """The number of pixels in each spatial dimension."""
        return self[1:]

    @property
    def height(self) -> int:
        """The height, in two or three dimensions."""
        return self.size[-2]

    @property
    def width(self) -> int:
        """The width, or the length in one dimension."""
        return self.size[-1]

    def __str__(self) -> str:
        return "x".join(map(str, (*self.size, self.channels)))

    def __repr__(self) -> str:
        return f"Shape{tuple(self)!r}"
