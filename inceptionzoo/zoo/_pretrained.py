"""Published weights and Hub repositories: fetched, checked, converted once, and kept."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import DownloadError, FileError
from ..spec import Entry, Published
from ..weights import WeightSource, fold_input, model_arguments, read_config, read_weights, save_weights
from ..weights.download import (
    CONFIG,
    HUB,
    WEIGHTS,
    cache_folder,
    cache_path,
    digest_checker,
    download,
    download_hub_file,
    is_offline,
    parse_reference,
    resolve_folder,
    temporary_folder,
)
from ._options import ModelOptions, SourceInfo, build_empty, check_keywords, info_from_shapes
from ._registry import find_entry, make_network
from ._restore import build_from_weights

LARGEST_MEMBER = 4 << 30


@dataclass(frozen=True, slots=True)
class Repository:
    """A model that a repository holds: its entry, the arguments it was made with, its weights, and what is said of them."""

    entry: Entry
    arguments: dict[str, Any]
    source: WeightSource
    known: SourceInfo | None


def load_repository(reference: str, cache_dir: str | os.PathLike[str] | None) -> Repository:
    """Return what "hf-hub:owner/name@revision" or "local-dir:path" holds: one of ours, or one of timm's.

    Raises:
        DownloadError: it cannot be had.
        FileError: its config.json or its weights are not what they should be.
        UnknownModelError: it is of an architecture that is not registered.
    """
    folder = resolve_folder(reference, cache_dir)
    config, source = read_config(folder / CONFIG), read_weights(folder / WEIGHTS)
    entry, card = find_entry(config.architecture), source.metadata
    if card is not None:
        if card.architecture != config.architecture:
            says = f"{CONFIG} says {config.architecture!r}, {WEIGHTS} {card.architecture!r}"
            raise FileError(f"{reference}: {says}; save it again")
        return Repository(entry, model_arguments(card), source, None)
    options = {item.name for item in fields(ModelOptions)}  # timm lists them among the model's arguments
    arguments = {key: value for key, value in config.arguments.items() if key not in options}
    check_keywords(entry, arguments)
    shown = info_from_shapes(make_network(entry, arguments), entry, source).sizes
    if shown.num_classes != config.num_classes:
        warnings.warn(
            f"{reference}: {CONFIG} says {config.num_classes} classes, {WEIGHTS} has {shown.num_classes}, which counts",
            stacklevel=3,
        )
    names = config.class_names if shown.num_classes == config.num_classes else None
    known = SourceInfo(replace(shown, global_pool=config.global_pool), config.data_config(entry.data), names)
    return Repository(entry, arguments, source, known)


def load_published(entry: Entry, tag: str, cache_dir: str | os.PathLike[str] | None) -> WeightSource:
    """Return published weights as a file of ours, from the cache, or downloaded and converted into it.

    Raises:
        DownloadError: they are not cached and cannot be had.
        WeightsError: they are not what they should be.
    """
    row = entry.weights[tag]
    version = hashlib.sha256(repr(row).encode()).hexdigest()[:12]
    path = cache_path(cache_folder(cache_dir), "published", f"{entry.name}.{tag}-{version}.safetensors")
    if path.is_file():
        try:
            return read_weights(path)
        except FileError as error:
            warnings.warn(f"{error}: it is fetched again", stacklevel=2)
    if is_offline():
        raise DownloadError(f"{entry.name}.{tag} is not cached, and HF_HUB_OFFLINE is set; unset it once, or pass weights=FILE")
    with temporary_folder(path.parent) as place:
        _convert(entry, row, _fetched(row, place), path)
    return read_weights(path)


def _fetched(row: Published, place: Path) -> Path:
    """Return the publisher's own file, in `place`, held to its checksum."""
    if row.url.startswith(HUB):
        download_hub_file(parse_reference(row.url), "main", WEIGHTS, place / WEIGHTS)
        return place / WEIGHTS
    kind, _, digits = row.digest.partition(":")
    check = digest_checker(kind, digits) if digits else _readable
    file = place / row.url.rpartition("/")[2]
    if not row.member:
        download(_mirrored(row.url), file, check)
        return file

    def check_member(archive: Path) -> None:
        _extract(archive, row.member, place / row.member)
        check(place / row.member)

    download(_mirrored(row.url), file, check_member)
    return place / row.member


def _readable(file: Path) -> None:
    """Check that a file of which no checksum is known is a checkpoint at all: no page of an error, and not cut short."""
    read_weights(file)


def _mirrored(url: str) -> str:
    """Return the address of the file on the host that INCEPTIONZOO_MIRROR names instead of its own."""
    mirror = os.environ.get("INCEPTIONZOO_MIRROR")
    return f"{mirror.rstrip('/')}/{url.split('/', 3)[3]}" if mirror else url


def _extract(archive: Path, member: str, path: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as stream, open(path, "wb") as out:
            size = 0
            while piece := stream.read(1 << 20):
                size += len(piece)
                if size > LARGEST_MEMBER:
                    raise FileError(f"{member} unfolds to more than {LARGEST_MEMBER:,} bytes")
                out.write(piece)
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise FileError(f"{archive.name} is no zip archive with {member!r} in it ({error})") from error


def _convert(entry: Entry, row: Published, file: Path, path: Path) -> None:
    """Write the publisher's weights to `path` as a file of ours."""
    own = as_published(entry, row, replace(read_weights(file), name=row.url))
    model = build_from_weights(entry, own.source, ModelOptions(), own.arguments, known=own.known)
    save_weights(model, path, metrics=None if row.top1 is None else {"reported_top1": row.top1})


def as_published(entry: Entry, row: Published, source: WeightSource) -> Repository:
    """Return the publisher's own tensors as the row says that they are to be read: colours folded, a useless head left out."""
    network = make_network(entry, row.arguments)
    sizes = ModelOptions(row.num_classes, 3, "avg")
    keys = list(build_empty(network, sizes.options(entry, None)).state_dict())
    table = next(layout for layout in entry.layouts if layout.name == row.layout).table(keys)
    tensors = dict(source.tensors)
    if row.headless:
        wanted = set(table.values())
        tensors = {name: value for name, value in tensors.items() if name in wanted}
    stem = table[keys[0]]
    if stem in tensors and (row.bgr or row.scale != 1.0):
        tensors[stem] = fold_input(tensors[stem], bgr=row.bgr, scale=row.scale)
    own = replace(source, tensors=tensors)
    return Repository(entry, dict(row.arguments), own, SourceInfo(sizes, row.data))
