"""Damaged and odd .pth files: archives, files of torch before 1.6, and plain pickles."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import torch
from mutator import Mutant
from odd_states import STATES
from raw_edits import RAW, cut, flip, flip_in_payload, several_bytes
from torch import Tensor

Entries = list[tuple[str, bytes, int]]  # name, content, kind of compression
Edit = Callable[[Entries, Random], Entries]
OPCODES = b"().012FGIJKLMNPQRSTUVX]abcdeghijlopqrstu}\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8e\x93\x94\x95\x98"
THINGS = [None, 1, "a", b"x", [], {}, [1, 2], {"a": 1}, {1: 2}, {"a": None}, {"state_dict": 1}, {"model": {"net": {}}}, 10**400]
PICKLES = [b"", b".", b"N0.", b"\x80\4.", b"\x80\xff", b"(" * 9999 + b".", b"]" + b"]a" * 9999 + b".", b"\x8a\xff" + bytes(256)]


class PthOriginal:
    """A state dict, and files that hold it."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = dict(state)
        self.archive = saved(self.state)
        old = io.BytesIO()
        torch.save({"net": self.state, "epoch": 3}, old, _use_new_zipfile_serialization=False)
        self.others = [old.getvalue(), pickle.dumps(self.state, protocol=2)]
        with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
            self.entries = [(name, archive.read(name), zipfile.ZIP_STORED) for name in archive.namelist()]


def saved(what: object) -> bytes:
    """Return what torch.save writes."""
    stream = io.BytesIO()
    torch.save(what, stream)
    return stream.getvalue()


def pth_mutant(original: PthOriginal, pick: Random) -> Mutant:
    """Return a file with one fault; a few have none. Only archives have checksums."""
    draw = pick.random()
    if draw < 0.01:
        return Mutant(original.archive, "nothing")
    if draw < 0.6:
        old = draw >= 0.4
        data = pick.choice(original.others) if old else original.archive
        raw = pick.choice(RAW if old else (*RAW, *[flip_in_entry] * 5))
        changed = raw(data, pick.randrange(16, len(data) - 1), pick)
        return Mutant(changed, f"{'old ' if old else ''}{raw.__name__}", honest=old, digest=False)
    if draw < 0.85:
        edit = pick.choice(ENTRIES)
        data = zipped(edit(list(original.entries), pick))
        return Mutant(data, edit.__name__, honest=True)
    make = pick.choice(list(STATES))
    return Mutant(saved(STATES[make](dict(original.state), pick)), make, honest=True)


def flip_in_entry(data: bytes, end: int, pick: Random) -> bytes:
    """Flip a bit in an archive's table of entries: in any field of 46 bytes, or in flags, compression and attributes."""
    start = data.find(b"PK\1\2", pick.randrange(data.find(b"PK\1\2"), len(data)))
    field = pick.choice((pick.randrange(46), pick.choice((8, 9, 10, 36, 38, 39, 40, 41))))
    return flip(data, max(start, data.find(b"PK\1\2")) + field, pick)


def zipped(entries: Entries) -> bytes:
    """Return an archive of these entries, with correct checksums."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data, kind in entries:
            archive.writestr(name, data, kind)
    return stream.getvalue()


# --- entries -------------------------------------------------------------------------------------------------------------
def _with(entries: Entries, at: int, **new: Any) -> Entries:
    name, data, kind = entries[at]
    return [*entries[:at], (new.get("name", name), new.get("data", data), new.get("kind", kind)), *entries[at + 1 :]]


def _pickle_of(entries: Entries) -> int:
    return next(at for at, (name, _, _) in enumerate(entries) if name.endswith("data.pkl"))


def as_they_are(entries: Entries, pick: Random) -> Entries:
    return entries


def compressed(entries: Entries, pick: Random) -> Entries:
    kind = pick.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    one = pick.randrange(len(entries))
    every = pick.random() < 0.5
    return [(name, data, kind if every or at == one else old) for at, (name, data, old) in enumerate(entries)]


def doubled(entries: Entries, pick: Random) -> Entries:
    name, data, kind = pick.choice(entries)
    return [*entries, (name, pick.choice((data, bytes(len(data)), b"")), kind)]


def other_name(entries: Entries, pick: Random) -> Entries:
    at = pick.randrange(len(entries))
    name = entries[at][0]
    names = ("/", f"../{name}", f"/{name}", name.upper(), f"{name}\0", "x/" + name, "é", "data.pkl", name * 99)
    return _with(entries, at, name=pick.choice(names))


def dropped(entries: Entries, pick: Random) -> Entries:
    at = pick.choice((pick.randrange(len(entries)), _pickle_of(entries)))
    return entries[:at] + entries[at + 1 :]


def shuffled(entries: Entries, pick: Random) -> Entries:
    return pick.sample(entries, pick.choice((len(entries), len(entries), 3, 1, 0)))


def other_folder(entries: Entries, pick: Random) -> Entries:
    folder = pick.choice(("x/", "archive/", "", "a/b/"))
    return [(name.replace("archive/", folder, 1), data, kind) for name, data, kind in entries]


def other_content(entries: Entries, pick: Random) -> Entries:
    at = pick.randrange(len(entries))
    data = entries[at][1]
    size = len(data)
    new = [data[:-1], data + b"\0", data * 2, bytes(size), b"\xff" * size, pick.randbytes(size), b"", b"big", b"999\n"]
    return _with(entries, at, data=pick.choice(new))


def broken_pickle(entries: Entries, pick: Random) -> Entries:
    at = _pickle_of(entries)
    data = entries[at][1]
    raw = pick.choice((*RAW, flip_in_payload, flip_in_payload, several_bytes, cut))
    return _with(entries, at, data=raw(data, pick.randrange(9, len(data) - 1), pick))


def other_opcodes(entries: Entries, pick: Random) -> Entries:
    at = _pickle_of(entries)
    data = bytearray(entries[at][1])
    for _ in range(pick.randrange(1, 4)):
        place = pick.choice([place for place, byte in enumerate(data) if byte in OPCODES])
        data[place : place + pick.randrange(2)] = bytes(pick.choices(OPCODES, k=pick.randrange(3)))
    return _with(entries, at, data=bytes(data))


def other_pickle(entries: Entries, pick: Random) -> Entries:
    whole = pickle.dumps(pick.choice(THINGS), protocol=pick.randrange(6))
    return _with(entries, _pickle_of(entries), data=pick.choice((whole, whole, *PICKLES)))


ENTRIES: list[Edit] = [as_they_are, compressed, doubled, other_name, dropped, shuffled, other_folder, other_content]
ENTRIES += [broken_pickle, broken_pickle, broken_pickle, other_opcodes, other_opcodes, other_pickle]
