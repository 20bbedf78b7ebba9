"""Recognise the files of publishers, and change their tensors for RGB images with values from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from ..spec import Entry, Layout, Network, Published
from ._adaptation import fold_input
from ._checksum import Checksum
from ._layout import CLASSIFIER_WEIGHT
from ._locate import first_convolution, locate_network
from ._source import WeightSource
from ._validation import require_dense
from .download import HUB


def recognise_published(entry: Entry, network: Network, source: WeightSource) -> tuple[str, WeightSource]:
    """Return the tag of the published weights that a source holds, and its tensors as `as_published` returns them.

    The tag is "" if the source is none of the entry's published files. A file is recognised by the checksum that its publisher
    states; it is read again for it, but only if the layout and the numbers of channels and classes are the publisher's. Where
    the publisher states no checksum, these decide. Files on the Hub are not recognised.
    """
    location = locate_network(network, source, entry.layouts)
    if source.metadata is not None or location is None or location.label:  # publishers' files have no prefixes
        return "", source
    for tag, row in fitting_rows(entry, network, location.tensors()):
        if reason := _reason(row, source):
            return tag, as_published(entry, tag, network, source, reason=reason)
    return "", source


def fitting_rows(entry: Entry, network: Network, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Published]]:
    """Yield the tags and rows of an entry's published weights with the numbers of channels and classes of some tensors.

    The names of the tensors have no prefix.
    """
    stem = first_convolution(network)[0]
    for tag, row in entry.weights.items():
        layout = _layout_of(entry, row)
        has_stem = _has_stem_of(row, tensors.get(layout.theirs(stem)))
        if has_stem and _has_classifier_of(row, tensors.get(layout.theirs(CLASSIFIER_WEIGHT))):
            yield tag, row


def _layout_of(entry: Entry, row: Published) -> Layout:
    return next(layout for layout in entry.layouts if layout.name == row.layout)


def _has_stem_of(row: Published, stem: Tensor | None) -> bool:
    """Return whether the first convolution takes as many channels as the row's images have: I3D has files for optical flow."""
    return stem is not None and require_dense("stem", stem).shape[1:2] == (row.data.input_size[0],)


def _has_classifier_of(row: Published, classifier: Tensor | None) -> bool:
    """Return whether a classifier has the row's number of classes, or is as useless as that of a headless row."""
    if classifier is None:
        return row.headless
    value = require_dense(CLASSIFIER_WEIGHT, classifier)
    return not value.isfinite().all() if row.headless else value.shape[:1] == (row.num_classes,)


def _reason(row: Published, source: WeightSource) -> str:
    """Return what shows that a source is the publisher's file; "" if nothing does."""
    if row.digest:
        known = source.path is not None and Checksum(*row.digest.split(":")).matches(source.path)
        return "recognised by its checksum" if known else ""
    return "" if row.url.startswith(HUB) else "recognised by its layout and number of classes; the publisher states no checksum"


def as_published(entry: Entry, tag: str, network: Network, source: WeightSource, *, reason: str = "") -> WeightSource:
    """Return a publisher's tensors, changed for RGB images with values from 0 to 1, and without a head of no use.

    `network` is the entry's, with the arguments of the tag. `reason` says why the source is taken for that publisher's.
    """
    row = entry.weights[tag]
    layout = _layout_of(entry, row)
    location = locate_network(network, source, (layout,))
    tensors = dict(source.tensors if location is None else location.tensors())
    if row.headless:
        heads = tuple(theirs for ours, theirs in layout.prefixes if ours.startswith("head.")) or ("head.",)
        tensors = {name: value for name, value in tensors.items() if not name.startswith(heads)}
    stem = layout.theirs(first_convolution(network)[0])
    if stem in tensors and (row.bgr or row.scale != 1.0):
        tensors[stem] = fold_input(require_dense(stem, tensors[stem]), bgr=row.bgr, scale=row.scale)
    published = f"{entry.name}.{tag}" + (f" ({reason})" if reason else "")
    return replace(source, tensors=tensors, parts=(), data=row.data, published=published)
