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
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileError
from .atomic import atomic_write

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
SIGNATURES = {
    b"PK\x03\x04": "a .pth archive; rename it to .pth, or convert it",
    b"version ": "a git-LFS pointer; fetch the file itself with `git lfs pull`",
    b"<!DOCTYP": "an HTML page; download the file itself",
    b"<html": "an HTML page; download the file itself",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in the payload."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata to `path`, whole or not at all.

    Raises:
        FileError: a tensor's dtype has no place in the format.
        OSError: the disk refuses; the old file is as it was.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES:
            raise FileError(f"{name}: dtype {tensor.dtype} must be one of {', '.join(map(str, NAMES))}; cast it first")
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": {**metadata, DIGEST: BLANK}}
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
            view = buffer(tensor.detach().cpu().contiguous())
            stream.write(view)
            digest.update(view)
        stream.seek(8 + digest_at(head))
        stream.write(digest.hexdigest().encode())


def buffer(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous CPU tensor, without a copy."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def digest_at(head: bytes) -> int:
    """Return where in the header the digest's characters start."""
    key = f'"{DIGEST}":"'.encode()
    at = head.find(key)
    if at < 0 or head.find(key, at + 1) >= 0:
        raise FileError(f"the header must hold {DIGEST!r} exactly once, in this library's own form; the file is damaged")
    return at + len(key)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, in memory of their own, and the metadata of a file.

    Raises:
        FileError: it is no safetensors file, breaks the format's rules, is cut short, or fails its own digest.
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = read_head(stream, size, path)
        places, metadata = parse_head(head, size - 8 - len(head), path)
        claimed = metadata.get(DIGEST)
        if (MARKER in metadata) != (claimed is not None):
            raise FileError(f"{path}: the header must hold both {MARKER!r} and {DIGEST!r}, or neither; the file is damaged")
        digest = None if claimed is None else _digest_of_head(head, claimed)
        tensors = {}
        for place in places:
            tensor = torch.empty(place.shape, dtype=place.dtype)
            view = buffer(tensor)
            _fill(stream, view, path)
            if digest is not None:
                digest.update(view)
            tensors[place.name] = tensor
    if digest is not None and digest.hexdigest() != claimed:
        raise FileError(f"{path}: its bytes do not match its own digest; the file is damaged, fetch or save it again")
    return tensors, metadata


def read_head(stream: BufferedReader, size: int, path: Path) -> bytes:
    """Return the header's bytes."""
    start = stream.read(8)
    for signature, what in SIGNATURES.items():
        if start.startswith(signature):
            raise FileError(f"{path} is no .safetensors file but {what}")
    length = int.from_bytes(start, "little") if len(start) == 8 else 0
    if not 2 <= length <= min(size - 8, LARGEST_HEADER):
        raise FileError(f"{path} is no .safetensors file, or is cut short: {size} bytes cannot hold a header of {length}")
    head = stream.read(length)
    if len(head) != length or not head.startswith(b"{"):
        raise FileError(f"{path} is no .safetensors file: its header must start with '{{'")
    return head


def parse_head(head: bytes, payload: int, path: Path) -> tuple[list[Place], dict[str, str]]:
    """Return where every tensor lies, in order, and the metadata, after a check of all the format's rules."""
    try:
        header = json.loads(head.decode("utf-8"), object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise ValueError("it must be an object")
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
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: damaged or no .safetensors file: {error}; fetch or save it again") from error
    return places, metadata


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs, refusing a repeated key."""
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return result


def _place(name: str, item: object) -> Place:
    if not isinstance(item, dict) or set(item) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} must have dtype, shape and data_offsets")
    dtype, shape, offsets = item["dtype"], item["shape"], item["data_offsets"]
    if dtype not in DTYPES:
        raise ValueError(f"tensor {name!r} has dtype {dtype!r}; known are {', '.join(DTYPES)}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r}: shape and data_offsets must be lists of whole numbers")
    if any(side > LARGEST_SIDE for side in shape):
        raise ValueError(f"tensor {name!r}: shape {shape} has a side above {LARGEST_SIDE}")
    count = DTYPES[dtype].itemsize
    for side in shape:
        count *= side
    if offsets[1] - offsets[0] != count:
        raise ValueError(f"tensor {name!r} of shape {shape} takes {count} bytes, not {offsets[1] - offsets[0]}")
    return Place(name, DTYPES[dtype], tuple(shape), *offsets)


def _naturals(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _digest_of_head(head: bytes, claimed: str) -> Any:
    at = digest_at(head)
    if len(claimed) != len(BLANK) or head[at : at + len(BLANK)] != claimed.encode():
        raise FileError(f"{DIGEST}={claimed!r} must be 64 hexadecimal digits; the file is damaged")
    blank = head[:at] + BLANK.encode() + head[at + len(BLANK) :]
    return hashlib.sha256(struct.pack("<Q", len(head)) + blank)


def _fill(stream: BufferedReader, view: memoryview, path: Path) -> None:
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            raise FileError(f"{path} was cut short while it was read")
        done += count
