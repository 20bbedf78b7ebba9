"""summary and draw: a model, network or block as a table or as an SVG."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ArgumentError, check_choice, check_path, check_size
from ..nn import FeatureNet, Net, changed_parts, is_sharded, list_changes
from ..spec import AXES, GlobalPool, Layer, Network, Shape, Summary, summarize, supports_colour
from ..spec.drawing import layer_page, network_page, to_svg
from ..weights import atomic_write_text
from ._registry import find_entry_and_tag, resolve_tag

Detail = Literal["forms", "full"]
DETAILS: tuple[Detail, ...] = ("forms", "full")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing. `str(drawing)` is the SVG; notebooks display it."""

    title: str
    svg: str

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing of {self.title}: {len(self.svg):,} characters of SVG>"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the SVG to a file, atomically.

        Raises:
            ArgumentError: the path does not end in .svg.
            OSError: the file cannot be written.
        """
        atomic_write_text(_check_svg_path(path), self.svg)


def summary(model: str | Net | FeatureNet | Network, *, input_size: tuple[int, ...] | None = None) -> Summary:
    """Print a model as a table, like the one in its paper, and return the table.

    Each stage has a row with its output shape, depth, branch widths and cost. The column `weights` counts the weights of
    convolutions and dense layers only, as the GoogLeNet paper does; `params` also counts biases and normalisation. The branch
    "96 > 128" has a layer of 96 channels, then one of 128.

    `model` is the name of a model or of its weights ("name.tag"), a model, a feature network or a network. `input_size` is
    (channels, height, width); the default is the model's own, or (3, 224, 224) for a network.

    Raises:
        UnknownModelError: no model has this name.
        ArgumentError: `model` has another type, or `input_size` is invalid.
        InputError: the input is too small.

    Warns:
        UserWarning: parts of the model were replaced. The table shows the network that was built.
    """
    subject = _resolve(model, input_size, "summary takes a name, a model or a network")
    table = summarize(subject.title, subject.network, subject.shape, subject.num_classes, subject.pool)
    print(table.text(colour=supports_colour(sys.stdout)))
    return table


def draw(
    model: str | Net | FeatureNet | Network | Layer,
    path: str | os.PathLike[str] | None = None,
    *,
    input_size: tuple[int, ...] | None = None,
    detail: Detail = "forms",
) -> Drawing:
    """Draw a model, network or block as an SVG and return the drawing. Write it to `path`, if given.

    A table lists the stages: name, layers, output (height x width x channels), parameters and multiply-adds. Blocks and
    auxiliary heads are drawn next to it, as in the figures of the papers.

    `model` is the name of a model, a model, a feature network, a network, or a layer such as
    `inception(64, 96, 128, 16, 32, 32)`. `path` must end in .svg. `input_size` is (channels, height, width); the default is
    that of `summary`, and a layer needs none. `detail="forms"` draws blocks that differ only in their widths once, with a
    table of the widths. `detail="full"` draws each of them.

    Raises:
        UnknownModelError: no model has this name.
        ArgumentError: `model` has another type, `path` does not end in .svg, or another argument is invalid.
        InputError: the input is too small.
        OSError: the file cannot be written.

    Warns:
        UserWarning: parts of the model were replaced. The drawing shows the network that was built.
    """
    check_choice("detail", detail, DETAILS)
    if path is not None:
        _check_svg_path(path)
    if isinstance(model, Layer):
        title = "block"
        page, text = layer_page(model, _as_shape(input_size))
    else:
        subject = _resolve(model, input_size, "draw takes a name, a model, a network or a layer")
        title, num_classes = subject.title, subject.num_classes
        page, text = network_page(title, subject.network, subject.shape, num_classes, subject.pool, full=detail == "full")
    drawing = Drawing(title, to_svg(page, title, f"{title}: {text}"))
    if path is not None:
        drawing.save(path)
    return drawing


def _check_svg_path(path: str | os.PathLike[str]) -> Path:
    target = check_path("path", path)
    if target.suffix.lower() != ".svg":
        raise ArgumentError(f"path={str(path)!r} must end in .svg, the only format that is written")
    return target


@dataclass(frozen=True, slots=True)
class _Subject:
    """The network that `summary` and `draw` show."""

    title: str
    network: Network
    num_classes: int
    pool: GlobalPool
    shape: Shape  # of the input


def _resolve(model: str | Net | FeatureNet | Network, input_size: tuple[int, ...] | None, accepted: str) -> _Subject:
    """Return the network of a name, a model or a network.

    Raises:
        UnknownModelError: no model has this name.
        ArgumentError: `model` has another type (the message says what is `accepted`), or `input_size` is invalid.
    """
    if isinstance(model, Network):
        shape = _as_shape(input_size, model) or Shape(3, *(224,) * model.spatial_dims)
        return _Subject("network", model, 1000, "avg", shape)
    if isinstance(model, Net | FeatureNet):
        _warn_of_changes(model)
        title = model.entry.name if model.entry else "network"
        shape = _as_shape(input_size, model.network) or Shape(model.in_chans, *model.data.size)
        num_classes, pool = (model.num_classes, model.global_pool) if isinstance(model, Net) else (0, "")
        return _Subject(title, model.network, num_classes, pool, shape)
    if isinstance(model, str):
        entry, tag = find_entry_and_tag(model)
        network, num_classes, data = resolve_tag(entry, tag)
        return _Subject(model, network, num_classes, "avg", _as_shape(input_size, network) or Shape(*data.input_size))
    raise ArgumentError(f"model of type {type(model).__name__}: {accepted}")


def _warn_of_changes(model: Net | FeatureNet) -> None:
    """Warn, for the caller of `summary` or `draw`, if the specification does not describe the model."""
    if not is_sharded(model) and (changes := changed_parts(model)):
        text = f"the model was changed: {list_changes(changes)}; shown is the network that was built, and its cost"
        warnings.warn(text, stacklevel=4)


def _as_shape(input_size: tuple[int, ...] | None, network: Network | None = None) -> Shape | None:
    """Return (channels, height, width), a tuple or a list, as a `Shape`; None stays None.

    Raises:
        ArgumentError: `input_size` is not a number of channels and a positive int for each dimension of the network.
    """
    if input_size is None:
        return None
    size = tuple(input_size) if isinstance(input_size, list) else input_size
    check_size("input_size", size)
    if network is not None and len(size) != network.spatial_dims + 1:
        raise ArgumentError(f"input_size={size!r} must be (channels, {', '.join(AXES[network.spatial_dims])}) for this network")
    return Shape(*size)
