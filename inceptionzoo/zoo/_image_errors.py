"""The errors of opening an image file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, ImageError, ZooError

SCHEMES = ("data", "file", "ftp", "gs", "hf", "http", "https", "s3")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
REMEDY = "replace or remove the file"


def check_image_path(source: str | os.PathLike[str]) -> Path:
    """Return the path of an image. Check that it is no folder and no URL.

    Raises:
        ArgumentError: it is one.
    """
    text = os.fspath(source)
    if text.partition(":")[0].lower() in SCHEMES and not os.path.exists(source):
        short = text if len(text) <= 60 else f"{text[:60]}..."
        raise ArgumentError(f"image {short!r} is a URL, not a path; read it yourself and pass its bytes")
    if not text or os.path.isdir(source):
        kind = "a folder" if text else "empty"
        raise ArgumentError(f"image path {text!r} is {kind}; pass the path of an image; predict also takes a folder alone")
    return Path(source)


@contextmanager
def errors_that_name(name: str, file: Any = None) -> Iterator[None]:
    """Raise what Pillow raises for a damaged `file`, a path or a binary file, as an ImageError that names it."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (ZooError, MemoryError, Warning):  # a warning that is an error is not the file's fault
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image that Pillow can read{_describe_start(file)}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error} If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS") from error
    except Exception as error:  # Pillow's decoders raise many types
        if isinstance(error, OSError) and error.errno is not None:  # the file system's
            raise
        raise ImageError(f"{name} is a damaged image, or not one: {error}; {REMEDY}") from error


def _describe_start(file: Any) -> str:
    """Return the first bytes of a file that Pillow does not know, and what to do about it."""
    try:
        if isinstance(file, Path):
            with file.open("rb") as stream:
                start = stream.read(16)
        else:
            file.seek(0)
            start = file.read(16)
    except (OSError, ValueError, AttributeError):
        return f"; {REMEDY}"
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS:
        return ": it is a HEIC image; install pillow-heif and call pillow_heif.register_heif_opener()"
    if not start:
        return f": it is empty; {REMEDY}"
    return f": it begins with {start!r}; convert it to PNG or JPEG, or {REMEDY}"
