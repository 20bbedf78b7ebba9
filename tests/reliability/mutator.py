"""Damaged versions of a .safetensors file of this library; the same random state gives the same file."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from header_edits import DIGEST, EDITS, MARKER, VALUES
from metadata_edits import METADATA
from raw_edits import RAW, TEXT
from torch import Tensor

TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
TORCH |= {"I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}


@dataclass(frozen=True)
class Mutant:
    """A changed file, and how it was changed.

    `honest`: the file has no digest, or one that matches. It is a valid file with changed content, and may load.
    `digest`: the file's format has a digest of every byte. If it is not honest, no change may go undetected.
    """

    data: bytes
    how: str
    honest: bool = False
    digest: bool = True


class Original:
    """A file of this library, taken apart once."""

    def __init__(self, data: bytes) -> None:
        self.data, self.end = data, 8 + int.from_bytes(data[:8], "little")
        self.head, self.payload = data[8 : self.end], data[self.end :]
        self.header: dict[str, Any] = json.loads(self.head)
        self.names = [name for name in self.header if name != "__metadata__"]

    def copy(self) -> dict[str, Any]:
        """Return a copy of the header that may be changed."""
        return {key: dict(value) for key, value in self.header.items()}


def mutant(original: Original, pick: Random) -> Mutant:
    """Return the file with one fault; a few have none."""
    draw = pick.random()
    if draw < 0.005:
        return Mutant(original.data, "nothing")
    if draw < 0.6:
        raw = pick.choice(RAW)
        return Mutant(raw(original.data, original.end, pick), raw.__name__)
    if draw < 0.66:
        text = pick.choice(TEXT)
        seal = pick.random() < 0.3
        return Mutant(assemble(text(original.head, pick), original.payload, seal=seal), text.__name__, seal)
    header, payload = original.copy(), original.payload
    edits, sealed = (EDITS, 0.3) if draw < 0.85 else (VALUES, 0.7) if draw < 0.92 else (METADATA, 0.95)
    edit = pick.choice(edits)
    payload = edit(header, payload, pick.choice(original.names), pick)
    seal = pick.random() < sealed
    head = json.dumps(header, separators=(",", ":")).encode()
    texts = header.get("__metadata__")
    marked = isinstance(texts, dict) and not {MARKER, DIGEST}.isdisjoint(texts)
    return Mutant(assemble(head, payload, seal=seal), edit.__name__, seal or not marked)


def assemble(head: bytes, payload: bytes, *, seal: bool) -> bytes:
    """Return the file of this header and payload; `seal` corrects its digest if it has one."""
    head += b" " * (-len(head) % 8)
    key = f'"{DIGEST}":"'.encode()
    at = head.find(key) + len(key)
    if seal and at >= len(key) and len(head) >= at + 64:
        blank = head[:at] + b"0" * 64 + head[at + 64 :]
        digest = hashlib.sha256(struct.pack("<Q", len(head)) + blank + payload).hexdigest()
        head = head[:at] + digest.encode() + head[at + 64 :]
    return struct.pack("<Q", len(head)) + head + payload


def decode(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata ({} if there is none) of a well-formed file, read without the library."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = json.loads(header.pop("__metadata__", {}).get(MARKER, "{}"))
    tensors = {}
    for name, item in header.items():
        raw = bytearray(data[end + item["data_offsets"][0] : end + item["data_offsets"][1]])
        dtype = TORCH[item["dtype"]]
        tensors[name] = (
            torch.frombuffer(raw, dtype=dtype).reshape(item["shape"]) if raw else torch.empty(item["shape"], dtype=dtype)
        )
    return tensors, metadata
