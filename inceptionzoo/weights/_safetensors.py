"""The safetensors format, read and written in one pass with a digest of every byte.

Why not the safetensors package alone: it maps the file, so that a file cut short later kills the process; it accepts
repeated keys; and it cannot hash what it reads or writes. Files go both ways between it and this module (tests/weights).

Layout: 8 bytes with the header's length n (little endian), n bytes of JSON {name: {dtype, shape, data_offsets}}, then the
tensors' bytes without gaps. `__metadata__` maps strings to strings; ours holds "inceptionzoo" and "inceptionzoo_digest",
the sha256 of the whole file with the digest's own 64 characters set to "0".
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileError
from ._atomic import atomic_write

MARKER, DIGEST = "inceptionzoo", "inceptionzoo_digest"
BLANK = "0" * 64
LARGEST_HEADER = 100_000_000
LARGEST_SIDE = 2**31
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LARGEST_RANK = 16
PIECE = 1 << 24  # bytes that are read before they are hashed
SIGNATURES = {
    b"version ": "a git-LFS pointer; fetch the file itself with `git lfs pull`",
    b"<!doctyp": "an HTML page; download the file itself",
    b"<html": "an HTML page; download the file itself",
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where a tensor lies in the payload."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata to `path`, whole or not at all; with a digest where `MARKER` stands in the metadata.

    Raises:
        FileError: a tensor's dtype has no place in the format.
        OSError: the disk refuses; the old file is as it was.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES:
            raise FileError(f"{name}: dtype {tensor.dtype} must be one of {', '.join(map(str, NAMES))}; cast it first")
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    ours = MARKER in metadata
    header: dict[str, Any] = {"__metadata__": {**metadata, **({DIGEST: BLANK} if ours else {})}}
    offset = 0
    for name, tensor in ordered:
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    head += b" " * (-len(head) % 8)
    with atomic_write(path) as stream:
        digest = hashlib.sha256()
        for piece in (struct.pack("<Q", len(head)), head):
            stream.write(piece)
            digest.update(piece)
        for _, tensor in ordered:
            view = byte_view(tensor.detach().cpu().contiguous())
            stream.write(view)
            digest.update(view)
        if ours:
            stream.seek(8 + digest_offset(head))
            stream.write(digest.hexdigest().encode())


def byte_view(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous CPU tensor, without a copy."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def digest_offset(head: bytes) -> int:
    """Return where in the header the digest's characters start.

    Raises:
        ValueError: it does not stand there exactly once.
    """
    key = f'"{DIGEST}":"'.encode()
    at = head.find(key)
    if at < 0 or head.find(key, at + 1) >= 0:
        raise ValueError(f"the header must hold {DIGEST!r} exactly once, in this library's own form")
    return at + len(key)


def identify_other_format(start: bytes) -> str:
    """Return what a file is that starts like this and holds no weights, with the remedy; "" where nothing is known."""
    return next((what for signature, what in SIGNATURES.items() if start.lower().startswith(signature)), "")


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, in memory of their own, and the metadata of a file.

    Raises:
        FileError: it is no safetensors file, breaks the format's rules, is cut short, or fails its own digest.
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        try:
            return _read(stream)
        except (ValueError, RecursionError) as error:
            raise FileError(f"{path} is damaged or no .safetensors file: {error}; fetch it or save it again") from error
        except FileError as error:
            raise FileError(f"{path} is no .safetensors file but {error}") from error


def _read(stream: BufferedReader) -> tuple[dict[str, Tensor], dict[str, str]]:
    size = os.fstat(stream.fileno()).st_size
    head = read_head(stream, size)
    places, metadata = parse_head(head, size - 8 - len(head))
    claimed = metadata.get(DIGEST)
    if (MARKER in metadata) != (claimed is not None):
        raise ValueError(f"the header must hold both {MARKER!r} and {DIGEST!r}, or neither")
    digest = None if claimed is None else _digest_of_head(head, claimed)
    tensors = {place.name: torch.empty(place.shape, dtype=place.dtype) for place in places}
    with ThreadPoolExecutor(1) as hasher:
        for place in places:
            view = byte_view(tensors[place.name])
            for start in range(0, len(view), PIECE):
                piece = view[start : start + PIECE]
                _fill(stream, piece)
                if digest is not None and size > PIECE:
                    hasher.submit(digest.update, piece)  # while the next one is read
                elif digest is not None:
                    digest.update(piece)
    if digest is not None and digest.hexdigest() != claimed:
        raise ValueError("its bytes do not match its own digest")
    return tensors, metadata


def read_head(stream: BufferedReader, size: int) -> bytes:
    """Return the header's bytes."""
    start = stream.read(8)
    if start.startswith(b"PK\x03\x04"):
        raise FileError("a .pth archive; rename it to .pth, or convert it")
    if what := identify_other_format(start):
        raise FileError(what)
    length = int.from_bytes(start, "little") if len(start) == 8 else 0
    if not 2 <= length <= min(size - 8, LARGEST_HEADER):
        raise ValueError(f"{size} bytes cannot hold a header of {length}")
    head = stream.read(length)
    if len(head) != length or not head.startswith(b"{"):
        raise ValueError("the header must start with '{'")
    return head


def parse_head(head: bytes, payload: int) -> tuple[list[TensorEntry], dict[str, str]]:
    """Return where every tensor lies, in order, and the metadata, after a check of all the format's rules."""
    header = json.loads(head.decode("utf-8"), object_pairs_hook=_once)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ must map strings to strings")
    places = sorted((_place(name, item) for name, item in header.items()), key=lambda place: (place.begin, place.end))
    end = 0
    for place in places:
        if place.begin != end:
            raise ValueError(f"tensor {place.name!r} must start at byte {end}, not {place.begin}")
        end = place.end
    if end != payload:
        raise ValueError(f"the tensors take {end} bytes and the file holds {payload}")
    return places, metadata


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs, refusing a repeated key."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"key {name[:100]!r} stands twice")
        result[name] = value
    return result


def _place(name: str, item: object) -> TensorEntry:
    if not isinstance(item, dict) or set(item) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} must have dtype, shape and data_offsets")
    dtype, shape, offsets = item["dtype"], item["shape"], item["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"tensor {name!r} has dtype {dtype!r}; known are {', '.join(DTYPES)}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r}: shape and data_offsets must be lists of whole numbers")
    if len(shape) > LARGEST_RANK or any(side > LARGEST_SIDE for side in shape):
        raise ValueError(f"tensor {name!r} has a side above {LARGEST_SIDE}, or more than {LARGEST_RANK} of them")
    if 0 in shape and math.prod(side or 1 for side in shape) > LARGEST_SIDE:
        raise ValueError(f"tensor {name!r} of shape {shape} has no elements and sides too large")
    count = DTYPES[dtype].itemsize
    for side in shape:
        count *= side
    if offsets[1] - offsets[0] != count:
        raise ValueError(f"tensor {name!r} of shape {shape} takes {count} bytes, not {offsets[1] - offsets[0]}")
    return TensorEntry(name, DTYPES[dtype], tuple(shape), *offsets)


def _naturals(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _digest_of_head(head: bytes, claimed: str) -> hashlib._Hash:
    at = digest_offset(head)
    if not re.fullmatch("[0-9a-f]{64}", claimed) or head[at : at + len(BLANK)] != claimed.encode():
        raise ValueError(f"{DIGEST} must be 64 hexadecimal digits")
    blank = head[:at] + BLANK.encode() + head[at + len(BLANK) :]
    return hashlib.sha256(struct.pack("<Q", len(head)) + blank)


def _fill(stream: BufferedReader, view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            raise ValueError("it was cut short while it was read")
        done += count
