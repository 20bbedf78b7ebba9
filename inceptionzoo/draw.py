"""A network or a block as a picture, drawn from its specification."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .drawing.page import layer_page, network_page
from .drawing.svg import to_svg
from .errors import ArgumentError, check_choice, check_path
from .net import Net
from .network import Network
from .spec import Layer
from .subject import as_shape, find_subject
from .weights.atomic import atomic_write

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
        title, network, classes, pool, shape = find_subject(model, input_size, TAKEN)
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
