"""The header of a safetensors file: encode it, read it, and check it against the rules of the format.

A file is 8 bytes with the length n of the header (little endian), n bytes of JSON {name: {dtype, shape, data_offsets}}, and
the payload: the tensors' bytes without gaps. `__metadata__` maps strings to strings. Files of this library have two keys
there: `MARKER` describes the model, and `DIGEST` is the SHA-256 of the whole file, computed with the digest's own 64
characters set to "0".
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import torch
from torch import Tensor

from ..errors import FileError
from ._other_formats import identify_other_format, identify_zip_file

MARKER, DIGEST = "inceptionzoo", "inceptionzoo_digest"
BLANK_DIGEST = "0" * 64
MAX_HEADER = 100_000_000  # bytes
MAX_SIDE = 2**31  # of a shape
MAX_DIMENSIONS = 16
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
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
OTHER_DTYPES = {"U16", "U32", "U64", "C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4"}  # which are not read


class DtypeError(ValueError):
    """A tensor has a dtype of the format that is not read."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of the header; `begin` and `end` are byte offsets in the payload."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


# --- writing -------------------------------------------------------------------------------------------------------------
def encode_header(tensors: Sequence[tuple[str, Tensor]], metadata: Mapping[str, str]) -> bytes:
    """Return the header of a file with these tensors, in this order; with a blank digest if `metadata` has `MARKER`."""
    digest = {DIGEST: BLANK_DIGEST} if MARKER in metadata else {}
    header: dict[str, Any] = {"__metadata__": {**metadata, **digest}}
    begin = 0
    for name, tensor in tensors:
        end = begin + tensor.nbytes
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    return encoded + b" " * (-len(encoded) % 8)


# --- the digest ----------------------------------------------------------------------------------------------------------
def digest_offset(header: bytes) -> int:
    """Return the position in the header of the digest's first character.

    Raises:
        ValueError: the header does not hold the digest exactly once.
    """
    key = f'"{DIGEST}":"'.encode()
    start = header.find(key)
    if start < 0 or header.find(key, start + 1) >= 0:
        raise ValueError(f"the header must hold {DIGEST!r} exactly once, as this library writes it")
    return start + len(key)


def start_digest(header: bytes, expected: str) -> hashlib._Hash:
    """Return the hash of a file's start, to be updated with its payload; `expected` is the digest that the header holds.

    Raises:
        ValueError: `expected` is not a digest, or is not where the library writes it.
    """
    start = digest_offset(header)
    end = start + len(BLANK_DIGEST)
    if not re.fullmatch("[0-9a-f]{64}", expected) or header[start:end] != expected.encode():
        raise ValueError(f"{DIGEST} must be 64 hexadecimal digits")
    return hashlib.sha256(struct.pack("<Q", len(header)) + header[:start] + BLANK_DIGEST.encode() + header[end:])


# --- reading -------------------------------------------------------------------------------------------------------------
def read_header(stream: BufferedReader, size: int) -> bytes:
    """Return the header's bytes; `size` is the file's, in bytes.

    Raises:
        FileError: the file has another format; the message says which.
        ValueError: the length of the header is impossible, or the header is not a JSON object.
    """
    start = stream.read(8)
    if start.startswith(b"PK\x03\x04"):
        raise FileError(identify_zip_file(stream))
    length = int.from_bytes(start, "little") if len(start) == 8 else 0
    fits = 2 <= length <= min(size - 8, MAX_HEADER)
    header = stream.read(length) if fits else b""
    if header.startswith(b"{") and len(header) == length:
        return header
    if start[:1] == b"\x80":
        raise FileError("a pickle, as torch.save wrote before torch 1.6; rename it to .pth, or convert it")
    if what := identify_other_format(start):
        raise FileError(what)
    raise ValueError("the header must start with '{'" if fits else f"{size} bytes cannot hold a header of {length}")


def parse_header(encoded: bytes, payload_size: int) -> tuple[list[TensorEntry], dict[str, str]]:
    """Return the tensors in the order of their bytes, and the metadata.

    Raises:
        DtypeError: a tensor has a dtype that is not read.
        ValueError: the header is not JSON or breaks a rule of the format.
    """
    header = json.loads(encoded.decode("utf-8"), object_pairs_hook=_unique_keys, parse_int=_parse_int)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ must map strings to strings")
    "".join([*header, *metadata, *metadata.values()]).encode()  # raises if a string holds half a surrogate pair
    entries = sorted((_parse_entry(*item) for item in header.items()), key=lambda entry: (entry.begin, entry.end))
    end = 0
    for entry in entries:
        if entry.begin != end:
            raise ValueError(f"tensor {entry.name!r} must start at byte {end}, not {entry.begin}")
        end = entry.end
    if end != payload_size:
        raise ValueError(f"the tensors take {end} bytes and the file holds {payload_size}")
    return entries, metadata


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"key {name[:100]!r} appears twice")
        result[name] = value
    return result


def _parse_int(text: str) -> int | float:
    """Return the number; "-0" is a float, as in the safetensors package."""
    return -0.0 if text == "-0" else int(text)


def _parse_entry(name: str, item: object) -> TensorEntry:
    if not isinstance(item, dict) or set(item) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} must have dtype, shape and data_offsets")
    dtype, shape, offsets = item["dtype"], item["shape"], item["data_offsets"]
    if isinstance(dtype, str) and dtype in OTHER_DTYPES:
        raise DtypeError(f"tensor {name!r} has dtype {dtype}, which is not read; cast it to one of {', '.join(DTYPES)}")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"tensor {name!r} has dtype {dtype!r}; it must be one of {', '.join(DTYPES)}")
    if not _are_naturals(shape) or not _are_naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r}: shape and data_offsets must be lists of whole numbers")
    if len(shape) > MAX_DIMENSIONS or any(side > MAX_SIDE for side in shape):
        raise ValueError(f"tensor {name!r} has a side above {MAX_SIDE}, or more than {MAX_DIMENSIONS} dimensions")
    if 0 in shape and math.prod(side or 1 for side in shape) > MAX_SIDE:
        raise ValueError(f"tensor {name!r} of shape {shape} has no elements and its other sides are too large")
    size = DTYPES[dtype].itemsize * math.prod(shape)
    if offsets[1] - offsets[0] != size:
        raise ValueError(f"tensor {name!r} of shape {shape} takes {size} bytes, not {offsets[1] - offsets[0]}")
    return TensorEntry(name, DTYPES[dtype], tuple(shape), *offsets)


def _are_naturals(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
