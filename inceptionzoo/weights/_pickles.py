"""Read a .pth file: torch's restricted reader, behind a check of the archive that holds it."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import FileError
from ._safetensors import identify_other_format

OLDEST_TORCH = (2, 10)
FLAGS = 0x808  # of an entry: its sizes follow it, its name is UTF-8
GLOBAL = re.compile(r"GLOBAL (\S+)")


def read_pickle(path: Path) -> Any:
    """Return what a .pth file holds; nothing of it is ever run.

    torch itself reads neither the checksums of the archive nor minds compressed entries, which may unfold to any size; both
    are checked here first. Files of before 2020 have no archive, and so no checksum.

    Raises:
        FileError: it is no such file, is damaged, compressed, or holds more than tensors and plain values.
        OSError: it cannot be read.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        raise FileError(f"{path}: reading .pth needs torch 2.10 or newer (have {torch.__version__}); upgrade torch")
    with open(path, "rb") as stream:
        start = stream.read(16)
        if what := identify_other_format(start):
            raise FileError(f"{path} is no {path.suffix} file but {what}")
        if start[8:9] == b"{":
            raise FileError(f"{path} is no {path.suffix} file but a .safetensors file; rename it")
        if start.startswith(b"PK"):
            _check_archive(stream, path)
        stream.seek(0)
        return _load(stream, path)


def _check_archive(stream: BinaryIO, path: Path) -> None:
    """Check that nothing in a zip archive is compressed, doubled or damaged, and nothing stands after it."""
    try:
        stream.seek(-22, os.SEEK_END)  # the record that ends an archive, of 22 bytes where there is no comment
        end = stream.read()
        if not end.startswith(b"PK\x05\x06") or end[20:] != b"\0\0":
            raise FileError(f"{path} is no {path.suffix} file, is cut short or goes on after its end; fetch it again")
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            if wrong := next((entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED), None):
                raise FileError(f"{path}: {wrong!r} is compressed, and may unfold to any size; save it again with torch.save")
            if odd := next(
                (entry.filename for entry in entries if entry.flag_bits & ~FLAGS or entry.external_attr & 0xFF), None
            ):
                raise FileError(f"{path}: {odd!r} is marked as a folder or as encrypted, and is damaged; fetch it again")
            names = [entry.filename for entry in entries]
            if len(set(names)) != len(names):
                raise FileError(f"{path} holds two entries of one name; save it again with torch.save")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, OSError) as error:  # OSError: a seek to nowhere
        raise FileError(f"{path} is no {path.suffix} file or is damaged ({error}); fetch it again") from error
    if damaged is not None:
        raise FileError(
            f"{path} is damaged: the checksum of {damaged!r} is not that of its bytes; fetch it again. Where it was saved "
            "without checksums (set_crc32_options), load it yourself with torch.load and pass its state dict"
        )


def _load(stream: BinaryIO, path: Path) -> Any:
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything; torch's own advice would be to run it
        found = GLOBAL.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and found:
            raise FileError(
                f"{path} holds {found[1]} beside tensors, and this library never runs a file's code. Where you trust it, "
                "load it yourself with torch.load and pass its state dict"
            ) from error
        raise FileError(f"{path} is no {path.suffix} file or is damaged ({type(error).__name__}); fetch it again") from error
