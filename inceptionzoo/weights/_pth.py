"""Read a .pth file: check the archive, then load it with torch's restricted unpickler."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import FileError
from ._checksum import Checksum
from ._ignored import MAPPINGS, NAMES, ignored_values
from ._other_formats import ZIP_ERRORS, identify_archive, identify_other_format

MIN_TORCH = (2, 10)
ALLOWED_FLAGS = 0x808  # of a zip entry: its sizes follow its data; its name is UTF-8
GLOBAL = re.compile(r"GLOBAL (\S+)")  # finds, in torch's error message, the name that it refuses to import


def read_pth(path: Path, checksum: Checksum | None = None) -> Any:
    """Return the content of a .pth file, without running any code from it.

    torch ignores the checksums of the archive and accepts compressed entries, which may expand to any size. This function
    refuses wrong checksums and compressed entries. Files written by torch before 1.6 (2020) are not archives and have no
    checksums. `checksum` is that of the whole file; it is checked first, in a pass of its own.

    Raises:
        FileError: the file does not have `checksum`, is not a .pth file, is damaged or compressed, or holds more than
            tensors and plain values; or torch is too old.
        OSError: the file cannot be read.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < MIN_TORCH:
        raise FileError(f"{path}: reading .pth needs torch 2.10 or newer (have {torch.__version__}); upgrade torch")
    with open(path, "rb") as stream:
        if checksum is not None:
            checksum.verify(stream, path)
        start = stream.read(16)
        if start[4:9] == b"\0\0\0\0{":
            raise FileError(f"{path} is not a {path.suffix} file but a .safetensors file; rename it")
        if what := identify_other_format(start):
            raise FileError(f"{path} is not a {path.suffix} file but {what}")
        if start.startswith(b"PK"):
            _check_archive(stream, path)
        stream.seek(0)
        return _load(stream, path)


def _check_archive(stream: BinaryIO, path: Path) -> None:
    """Check that a zip archive ends at the end of the file, and that no entry is compressed, repeated or damaged."""
    try:
        stream.seek(-22, os.SEEK_END)  # the end record takes 22 bytes if the archive has no comment
        end = stream.read()
        if not end.startswith(b"PK\x05\x06") or end[20:] != b"\0\0":
            raise FileError(
                f"{path} is not a {path.suffix} file, is truncated or has bytes after the archive; download it again"
            )
        with zipfile.ZipFile(stream) as archive:
            if what := identify_archive(archive.namelist()):
                raise FileError(f"{path} is not a {path.suffix} file but {what}")
            _check_entries(archive.infolist(), path)
            damaged = archive.testzip()
    except ZIP_ERRORS as error:  # OSError: a seek before the start
        raise FileError(f"{path} is not a {path.suffix} file or is damaged ({error}); download it again") from error
    if damaged is not None:
        raise FileError(
            f"{path} is damaged: the checksum of {damaged!r} does not match its bytes; download it again. If it was saved "
            "without checksums (set_crc32_options), load it yourself with torch.load and pass its state dict"
        )


def _check_entries(entries: list[zipfile.ZipInfo], path: Path) -> None:
    names = [entry.filename for entry in entries]
    if compressed := [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
        raise FileError(f"{path}: {compressed[0]!r} is compressed and may expand to any size; save it again with torch.save")
    if odd := [entry.filename for entry in entries if entry.flag_bits & ~ALLOWED_FLAGS or entry.external_attr & 0xFF]:
        raise FileError(f"{path} is damaged: {odd[0]!r} is marked as a folder or as encrypted; download it again")
    if len(set(names)) != len(names):
        raise FileError(f"{path} holds two entries of one name; save it again with torch.save")


def _load(stream: BinaryIO, path: Path) -> Any:
    try:
        return _unpickle(stream)
    except Exception as error:  # a damaged pickle can raise anything
        found = _refused_name(error)
        if found:
            raise FileError(
                f"{path} holds {found} besides tensors, and this library never runs a file's code. If you trust it, "
                "load it yourself with torch.load and pass its state dict, or the state_dict() of a model"
            ) from error
        raise FileError(
            f"{path} is not a {path.suffix} file or is damaged ({type(error).__name__}); download it again"
        ) from error


def _unpickle(stream: BinaryIO) -> Any:
    """Return the content of a file; data that training programs save beside the weights is read as nothing."""
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _refused_name(error) not in (*NAMES, *MAPPINGS):
            raise
    stream.seek(0)
    with ignored_values():
        return torch.load(stream, map_location="cpu", weights_only=True)


def _refused_name(error: Exception) -> str:
    """Return the name that torch's restricted unpickler refused to import, or ""."""
    found = GLOBAL.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
    return found[1] if found else ""
