"""The names that other libraries give to a model's tensors. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import ArgumentError, MismatchError, check_text
from ._data_config import DataConfig


@dataclass(frozen=True, slots=True)
class Layout:
    """The names that another library gives to the same tensors. "ours" is this library, "theirs" the other one.

    To translate our key, the first prefix in `prefixes`, pairs (ours, theirs), that the key starts with is replaced. Then each
    pair (ours, theirs) of `inner` is replaced wherever it occurs. `shapes` lists (our key, their shape) for weights that the
    other library stores in another shape, for example a dense layer as a convolution; -1 is inferred, as in `Tensor.reshape`.
    `flattened` lists (our key, (c, h, w)) for dense layers on a map of that shape if the other library flattens the map in the
    order (h, w, c). `arguments` are those with which our network is the other library's. `data` is the preprocessing of the
    other library, if it has one for all its weights; None if each file may have another.

    Raises:
        ArgumentError: a field has the wrong type.
    """

    name: str
    prefixes: tuple[tuple[str, str], ...]
    inner: tuple[tuple[str, str], ...] = ()
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    flattened: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data: DataConfig | None = None

    has_other_layers: ClassVar[bool] = False  # whether a file may hold layers of the user's own beside the network's

    def __post_init__(self) -> None:
        check_text("name", self.name)
        _check_pairs("prefixes", self.prefixes, "(ours, theirs), both strings", _is_text)
        _check_pairs("inner", self.inner, "(ours, theirs), both strings", _is_text)
        _check_pairs("shapes", self.shapes, "(our key, their shape), a string and a tuple of ints", _is_shape)
        _check_pairs("flattened", self.flattened, "(our key, (c, h, w)), a string and a tuple of ints", _is_shape)

    @property
    def can_be_written(self) -> bool:
        """Whether files of this layout are written, not only read."""
        return True

    def theirs(self, key: str) -> str:
        """Return the other library's name for our `key`."""
        for ours, theirs in self.prefixes:
            if key.startswith(ours):
                key = theirs + key.removeprefix(ours)
                break
        for ours, theirs in self.inner:
            key = key.replace(ours, theirs)
        return key

    def table(self, keys: Iterable[str]) -> dict[str, str]:
        """Return {our key: their key}. The mapping is one-to-one.

        Raises:
            MismatchError: two of our keys get the same name.
        """
        table = {key: self.theirs(key) for key in keys}
        if len(set(table.values())) != len(table):
            raise MismatchError(f"layout {self.name!r} gives two tensors the same name; correct its prefixes and inner rules")
        return table


def _check_pairs(name: str, pairs: object, description: str, accepts_second: Callable[[object], bool]) -> None:
    for pair in pairs if isinstance(pairs, tuple | list) else (None,):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str) or not accepts_second(pair[1]):
            raise ArgumentError(f"{name}={pairs!r} must be a tuple of pairs, {description}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple | list) and all(type(side) is int for side in value)


NATIVE = Layout("inceptionzoo", ())
