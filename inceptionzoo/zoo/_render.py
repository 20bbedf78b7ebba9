"""The table and the picture of a model, found by its name, or of a network or block."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ArgumentError, check_choice, check_path, check_size
from ..nn import Net
from ..spec import GlobalPool, Layer, Network, Shape, Summary, summarize, supports_colour
from ..spec.drawing import layer_page, network_page, to_svg
from ..weights import atomic_write
from ._registry import find_entry, make_network

Detail = Literal["forms", "full"]
TAKEN = "draw takes a name, a model, a network or a layer"
DETAILS: tuple[Detail, ...] = ("forms", "full")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture: `str` of it is the SVG, notebooks show it."""

    title: str
    svg: str

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing of {self.title}: {len(self.svg):,} characters of SVG>"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file that ends in .svg: whole, or not at all.

        Raises:
            ArgumentError: the path has another ending.
        """
        with atomic_write(_checked(path)) as stream:
            stream.write(self.svg.encode())


def summary(model: str | Net | Network, *, input_size: tuple[int, int, int] | None = None) -> Summary:
    """Print the table of a model, as its paper has it, and return it: stages, shapes, depth, branch widths and cost.

    `model` is a name, a model or a network. `input_size` is (c, h, w); the default is the model's own. The column `weights`
    counts the kernels alone, as the GoogLeNet paper does; `params` counts biases and normalisation too. A branch reads
    "96 > 128": 96 channels, then 128.

    Raises:
        UnknownModelError: no such model.
        InputError: the input is too small.
    """
    title, network, num_classes, _, shape = resolve_subject(model, input_size, "summary takes a name, a model or a network")
    result = summarize(title, network, shape, num_classes)
    print(result.text(colour=supports_colour(sys.stdout)))
    return result


def draw(
    model: str | Net | Network | Layer,
    path: str | os.PathLike[str] | None = None,
    *,
    input_size: tuple[int, int, int] | None = None,
    detail: Detail = "forms",
) -> Drawing:
    """Draw a network from its specification, and return the picture; write it to `path`, which ends in .svg, where given.

    Its stages stand in a column: name, layers, output (height x width x channels), and their shares of parameters and
    multiply-adds. Each block is drawn beside it, as the papers' figures have it, and the auxiliary heads. `detail` "forms"
    draws blocks that differ in their widths alone once, with a table of the widths; "full" draws each of them.

    `model` is a name, a model, a network, or a layer, as `inception(64, 96, 128, 16, 32, 32)` is one; `input_size`
    (c, h, w) is the model's own unless given, and a layer needs none.

    Raises:
        UnknownModelError: no such model.
        ArgumentError: it is no model, or the path ends otherwise.
        InputError: the input is too small.
    """
    check_choice("detail", detail, DETAILS)
    if path is not None:
        _checked(path)
    if isinstance(model, Layer):
        title = "block"
        page, about = layer_page(model, None if input_size is None else as_shape(input_size))
    else:
        title, network, classes, pool, shape = resolve_subject(model, input_size, TAKEN)
        page, about = network_page(title, network, shape, classes, pool, full=detail == "full")
    drawing = Drawing(title, to_svg(page, title, f"{title}: {about}"))
    if path is not None:
        drawing.save(path)
    return drawing


def _checked(path: str | os.PathLike[str]) -> Path:
    target = check_path("path", path)
    if target.suffix.lower() != ".svg":
        raise ArgumentError(f"path={str(path)!r} must end in .svg, the one format that is written")
    return target


def resolve_subject(
    model: str | Net | Network, input_size: tuple[int, int, int] | None, taken: str
) -> tuple[str, Network, int, GlobalPool, Shape]:
    """Return title, network, number of classes, pooling and input of what is to be shown; `taken` says what can be.

    Raises:
        UnknownModelError: no such model.
        ArgumentError: it is no model, or the size is none.
    """
    pool: GlobalPool = "avg"
    if isinstance(model, Network):
        title, network, classes, own = "network", model, 1000, (3, 224, 224)
    elif isinstance(model, Net):
        title, network, classes = model.entry.name if model.entry else "network", model.network, model.num_classes
        pool, own = model.global_pool, (model.in_chans, *model.data.input_size[1:])
    elif isinstance(model, str):
        entry = find_entry(model)
        title, network, classes, own = entry.name, make_network(entry, {}), entry.num_classes, entry.data.input_size
    else:
        raise ArgumentError(f"model of type {type(model).__name__}: {taken}")
    return title, network, classes, pool, as_shape(own if input_size is None else input_size)


def as_shape(input_size: tuple[int, int, int]) -> Shape:
    """Return an image's size (c, h, w), a tuple or a list, as a shape.

    Raises:
        ArgumentError: it is none.
    """
    size = tuple(input_size) if isinstance(input_size, list) else input_size
    check_size("input_size", size)
    return Shape(*size)
