"""The image files of folders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from itertools import filterfalse
from pathlib import Path
from typing import NoReturn

from ..errors import ArgumentError

OTHER_IMAGES = (".avif", ".dcm", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".tga")  # that ImageFolder leaves out


def image_paths(folder: Path) -> list[str]:
    """Return the paths of the images in a folder and its folders, sorted. Links to folders are followed, as by ImageFolder.

    Hidden files and folders are left out.

    Raises:
        ArgumentError: there is none.
        OSError: a folder cannot be read.
    """
    paths = [path for path in _files_in(folder) if path.lower().endswith(image_endings())]
    warn_of_other_images(folder, stacklevel=3)  # the call of predict
    if not paths:
        raise ArgumentError(f"folder {str(folder)!r} has no image; images are files with {', '.join(image_endings())}")
    return paths


def image_endings() -> tuple[str, ...]:
    """Return the ends of the names of the files that torchvision's ImageFolder takes for images."""
    from torchvision.datasets.folder import IMG_EXTENSIONS  # when it is needed, because it imports much

    endings: tuple[str, ...] = IMG_EXTENSIONS
    return endings


def _files_in(folder: Path) -> list[str]:
    """Return the paths of the files in a folder and its folders, sorted, without hidden ones.

    Raises:
        OSError: a folder cannot be read.
    """
    paths = []
    for parent, folders, files in _walk(folder):
        folders[:] = filterfalse(is_hidden, folders)
        paths += [str(path) for name in filterfalse(is_hidden, files) if (path := Path(parent, name)).is_file()]
    return sorted(paths)


def find_hidden_images(folder: Path) -> str | None:
    """Return the path of a hidden folder below `folder` that has images, or None if there is none.

    Raises:
        OSError: a folder cannot be read.
    """
    for parent, _, files in _walk(folder):
        is_below = any(map(is_hidden, Path(parent).relative_to(folder).parts))
        if is_below and any(name.lower().endswith(image_endings()) for name in files):
            return parent
    return None


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (path, names of folders, names of files) as os.walk does; each folder once, whatever links to it.

    Raises:
        OSError: a folder cannot be read.
    """

    def fail(error: OSError) -> NoReturn:
        raise error

    seen = set[str]()
    for parent, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()  # of two links to a folder, always the same is followed
        yield parent, folders, files


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or is one that macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"


def warn_of_other_images(folder: Path, *, stacklevel: int) -> None:
    """Warn of images in a folder and its folders that ImageFolder does not read. `stacklevel` is the caller's."""
    skipped = [path for path in _files_in(folder) if os.path.splitext(path)[1].lower() in OTHER_IMAGES]
    if skipped:
        warnings.warn(
            f"folder {str(folder)!r}: {len(skipped)} files such as {min(skipped)!r} are left out, because ImageFolder does not "
            "read them either; convert them to PNG or JPEG; predict also takes a list of their paths",
            stacklevel=stacklevel + 1,
        )
