"""Where downloads are kept, and how what is kept is trusted."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ArgumentError, FileError
from .. import atomic_write

PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")  # a folder's or a file's name that leads nowhere else


def cache_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Return the folder of downloads: `cache_dir`, else INCEPTIONZOO_CACHE, else ~/.cache/inceptionzoo (XDG_CACHE_HOME)."""
    if cache_dir is not None and not isinstance(cache_dir, str | os.PathLike):
        raise ArgumentError(f"cache_dir={cache_dir!r} must be the path of a folder")
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if asked := os.environ.get("INCEPTIONZOO_CACHE"):
        return Path(asked).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inceptionzoo"


def cache_path(folder: Path, *parts: str) -> Path:
    """Return folder/part/part, where every part is a plain name.

    Raises:
        FileError: one of them could lead elsewhere.
    """
    for part in parts:
        if not PART.fullmatch(part) or ".." in part:
            raise FileError(f"{part[:100]!r} is no name for a file of the cache")
    return folder.joinpath(*parts)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside the cached files for what is not finished; it is gone after."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder, ignore_cleanup_errors=True) as place:
        yield Path(place)


def file_digests(path: Path, *kinds: str) -> list[str]:
    """Return digests of a file, in hexadecimal: of the kinds "sha256", "sha1", or "git", the name of its blob in git."""
    digests = [hashlib.sha1(b"blob %d\0" % path.stat().st_size) if kind == "git" else hashlib.new(kind) for kind in kinds]
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 20):
            for digest in digests:
                digest.update(piece)
    return [digest.hexdigest() for digest in digests]


def digest_checker(kind: str, wanted: str) -> Callable[[Path], None]:
    """Return a check that a file's digest of that kind starts with `wanted`, hexadecimal digits; "" checks nothing."""

    def check(path: Path) -> None:
        (found,) = file_digests(path, kind) if wanted else ("",)
        if not found.startswith(wanted):
            raise FileError(f"its {kind} is {found[: len(wanted)]}, and should be {wanted}")

    return check


def write_digest(path: Path) -> None:
    """Write the sha256 of a file beside it."""
    (digest,) = file_digests(path, "sha256")
    with atomic_write(path.with_name(f"{path.name}.sha256")) as stream:
        stream.write(digest.encode())


def matches_digest(path: Path) -> bool:
    """Return whether a file is there, and still the one that was sealed."""
    beside = path.with_name(f"{path.name}.sha256")
    return path.is_file() and beside.is_file() and beside.read_bytes() == file_digests(path, "sha256")[0].encode()
