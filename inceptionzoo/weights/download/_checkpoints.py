"""Weight files that publishers serve at their own URLs; they are cached unchanged."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ...errors import DownloadError, FileError
from ...spec import Published
from .. import Checksum
from ._cache import (
    Folder,
    Reader,
    checkpoint_folder,
    hub_folder,
    is_offline,
    keras_checkpoint_folder,
    read_cached,
    temporary_folder,
    torch_checkpoint_folder,
)
from ._http import download

T = TypeVar("T")
LARGEST_MEMBER = 4 << 30  # bytes
OWN_DIGITS = 16  # of the sha256 that we add to the name of a cached file if its publisher gives no checksum


def read_checkpoint(row: Published, read: Reader[T], cache_dir: Folder = None) -> T:
    """Return what `read` returns for the publisher's file, from a cache or downloaded.

    torch.hub's folder of checkpoints and Keras's come first: torchvision, timm and Keras keep the same files there. Before a
    download, the Hub's cache is searched for a copy that somebody uploaded. Such a file is used only if it has the checksum
    that the publisher gives. Of a zip archive, only the weight file is cached.

    Raises:
        DownloadError: the file is not cached and cannot be downloaded.
        FileError: `read` refuses it although its checksum is right.
    """
    name, folder = row.member or row.url.rpartition("/")[2], checkpoint_folder(cache_dir)
    if row.digest:
        checksum: Checksum | None = Checksum(*row.digest.split(":"))
        cached: Path | None = folder / name
        for others in (torch_checkpoint_folder(), keras_checkpoint_folder()):
            with suppress(FileError, OSError):  # it is not there, is another file, or cannot be read
                return read(others / name, checksum)
    else:
        cached, checksum = _find_by_own_checksum(folder, name)
    if cached is not None and cached.is_file() and (result := read_cached(cached, checksum, read)) is not None:
        return result[0]
    for path in () if checksum is None else _copies_on_the_hub(name, checksum):
        with suppress(FileError, OSError):
            return read(path, checksum)
    if is_offline():
        raise DownloadError(f"{name} is not cached, and HF_HUB_OFFLINE is set; unset it to download, or pass weights=FILE")
    checksum = checksum if row.digest else None  # the publisher may have another file now than the damaged one
    with temporary_folder(folder) as temporary:
        path = _download(row, name, checksum, read, temporary)
        if not row.digest:
            checksum, name = _with_own_checksum(path)
        os.replace(path, folder / name)  # a damaged file is not removed before: another process may have replaced it already
    if cached is not None and cached != folder / name:
        cached.unlink(missing_ok=True)
    return read(folder / name, checksum)


def _copies_on_the_hub(name: str, checksum: Checksum) -> Iterator[Path]:
    """Yield the files in huggingface_hub's cache that have this name, or are stored under this sha256."""
    for path in sorted(hub_folder(None).glob("models--*/snapshots/*/*")):
        stored = path.resolve().name  # a large file is a link to one that is named by its sha256
        if path.name == name or (checksum.kind == "sha256" and stored.startswith(checksum.digits)):
            yield path


def _with_own_checksum(path: Path) -> tuple[Checksum, str]:
    """Return the sha256 of a file, and the file's name with the first digits of the sha256, as torch.hub writes names."""
    checksum = Checksum.of_file(path)
    return checksum, f"{path.stem}-{checksum.digits[:OWN_DIGITS]}{path.suffix}"


def _find_by_own_checksum(folder: Path, name: str) -> tuple[Path | None, Checksum | None]:
    """Return a cached file that `_with_own_checksum` named, and its checksum."""
    stem, suffix = os.path.splitext(name)
    pattern = re.compile(f"{re.escape(stem)}-([0-9a-f]{{{OWN_DIGITS}}}){re.escape(suffix)}")
    for path in sorted(folder.glob(f"*{suffix}")):
        if match := pattern.fullmatch(path.name):
            return path, Checksum("sha256", match[1])
    return None, None


def _download(row: Published, name: str, checksum: Checksum | None, read: Reader[T], folder: Path) -> Path:
    """Download the publisher's file to `folder`, take it out of its zip archive, and check it."""

    def check(path: Path) -> None:
        if row.member:
            _extract(path, row.member, folder / name)
        if checksum is None:
            read(folder / name, None)  # no checksum is known: it must at least be a whole checkpoint
        else:
            checksum.check_file(folder / name)

    download(_mirrored(row.url), folder / row.url.rpartition("/")[2], check)
    return folder / name


def _mirrored(url: str) -> str:
    """Return the URL, with the publisher's host replaced by INCEPTIONZOO_MIRROR if that is set."""
    mirror = os.environ.get("INCEPTIONZOO_MIRROR")
    return f"{mirror.rstrip('/')}/{url.split('/', 3)[3]}" if mirror else url


def _extract(archive: Path, member: str, path: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source, open(path, "wb") as target:
            size = 0
            while chunk := source.read(1 << 20):
                size += len(chunk)
                if size > LARGEST_MEMBER:
                    raise FileError(f"{member} is larger than {LARGEST_MEMBER:,} bytes")
                target.write(chunk)
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise FileError(f"{archive.name} is not a zip archive that contains {member!r} ({error})") from error
