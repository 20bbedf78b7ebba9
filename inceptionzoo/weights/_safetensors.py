"""Read and write safetensors files in one pass, with a digest of every byte.

The safetensors package is not used here, for three reasons. This reader puts the bytes straight into the tensors that it
returns and hashes them in the same pass: loading takes the file's size in memory once, and finds damage without a second
read. The package maps the file into memory, so that a file truncated after loading kills the process. And it accepts some
damaged files. A test compares both readers on thousands of damaged files (tests/weights/test_safetensors.py).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from ..errors import FileError
from ._atomic import atomic_write
from ._checksum import Checksum
from ._safetensors_header import (
    DIGEST,
    DTYPE_NAMES,
    MARKER,
    DtypeError,
    digest_offset,
    encode_header,
    parse_header,
    read_header,
    start_digest,
)

CHUNK = 1 << 24  # bytes that are read before they are hashed


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata to `path`, atomically; with a digest of every byte if `metadata` has the key `MARKER`.

    Raises:
        FileError: the format has no name for a tensor's dtype.
        OSError: the write fails; the old file is unchanged.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPE_NAMES:
            raise FileError(f"{name}: dtype {tensor.dtype} must be one of {', '.join(map(str, DTYPE_NAMES))}; cast it first")
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))  # keeps each tensor aligned
    header = encode_header(ordered, metadata)
    with atomic_write(path) as stream:
        digest = hashlib.sha256()
        for piece in (struct.pack("<Q", len(header)), header):
            stream.write(piece)
            digest.update(piece)
        for _, tensor in ordered:
            view = _byte_view(tensor.detach().cpu().contiguous())
            stream.write(view)
            digest.update(view)
        if MARKER in metadata:
            stream.seek(8 + digest_offset(header))
            stream.write(digest.hexdigest().encode())


def read_safetensors(path: Path, checksum: Checksum | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file; the tensors own their memory. `checksum` is checked in the same pass.

    Raises:
        FileError: the file is not a safetensors file, breaks a rule of the format, is truncated, has a dtype that is not read,
            or does not match its own digest or `checksum`.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        try:
            return _read(stream, checksum)
        except DtypeError as error:
            raise FileError(f"{path}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise FileError(f"{path} is damaged or not a .safetensors file: {error}; download it or save it again") from error
        except FileError as error:
            raise FileError(f"{path} is not a .safetensors file but {error}") from error


def read_safetensors_metadata(path: Path) -> dict[str, str]:
    """Return the metadata in the header of a file, unchecked; {} if it is no safetensors file.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            header = read_header(stream, size)
            return parse_header(header, size - 8 - len(header))[1]
        except (ValueError, RecursionError, FileError):
            return {}


def _read(stream: BufferedReader, checksum: Checksum | None) -> tuple[dict[str, Tensor], dict[str, str]]:
    size = os.fstat(stream.fileno()).st_size
    header = read_header(stream, size)
    entries, metadata = parse_header(header, size - 8 - len(header))
    expected = metadata.get(DIGEST)
    if (MARKER in metadata) != (expected is not None):
        raise ValueError(f"the header must hold both {MARKER!r} and {DIGEST!r}, or neither")
    digest = None if expected is None else start_digest(header, expected)
    file_hash = None if checksum is None else checksum.hasher(size)
    if file_hash is not None:
        file_hash.update(struct.pack("<Q", len(header)) + header)
    hashes = [item for item in (digest, file_hash) if item is not None]
    tensors = {entry.name: torch.empty(entry.shape, dtype=entry.dtype, device="cpu") for entry in entries}
    with ThreadPoolExecutor(1) as hasher:
        for entry in entries:
            view = _byte_view(tensors[entry.name])
            for start in range(0, len(view), CHUNK):
                chunk = view[start : start + CHUNK]
                _read_into(stream, chunk)
                for item in hashes:
                    if size > CHUNK:
                        hasher.submit(item.update, chunk)  # while the next chunk is read
                    else:
                        item.update(chunk)
    if checksum is not None and file_hash is not None:
        checksum.check(file_hash)
    if digest is not None and digest.hexdigest() != expected:
        raise ValueError("its bytes do not match its own digest")
    return tensors, metadata


def _byte_view(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous CPU tensor, without a copy."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _read_into(stream: BufferedReader, view: memoryview) -> None:
    """Fill the view from the stream.

    Raises:
        ValueError: the file became shorter while it was read.
    """
    filled = 0
    while filled < len(view):
        count = stream.readinto(view[filled:])
        if not count:
            raise ValueError("it was truncated while it was read")
        filled += count
