"""Hostile files: a harmful pickle of `bombs`, inserted into a state dict's opcodes, in every file format torch has had."""

from __future__ import annotations

import io
import itertools
import pickletools
import random
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import bombs
import torch
from torch import Tensor, nn

SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".bin", ".PTH", "")
ENTRIES = [
    "extra/more.pkl",
    "constants.pkl",
    "attributes.pkl",
    "bytecode.pkl",
    "code/more.pkl",
    "code/__torch__.py",
    "data/0",
    "data/more",
    ".data/serialization_id",
    ".format_version",
    "byteorder",
    "version",
    "data.json",
]
METHODS = ["numel", "is_floating_point", "untyped_storage", "element_size", "reshape", "detach", "to", "clone", "contiguous"]


def fragments(*names: str) -> tuple[bytes, ...]:
    return tuple(map(bombs.fragment, names))


MORE, STATE, OPTIMIZER, A = fragments("more", "state_dict", "optimizer", "a")
PLACES: dict[str, Callable[[bytes, bytes], bytes]] = {  # (opcodes of a state dict, opcodes of a bomb) -> opcodes of both
    "alone": lambda body, bomb: bomb,
    "value": lambda body, bomb: body + MORE + bomb + b"s",
    "key": lambda body, bomb: body + bomb + b"Ns",
    "in a list": lambda body, bomb: body + MORE + b"]" + bomb + b"as",
    "in a tuple": lambda body, bomb: body + MORE + bomb + b"\x85s",
    "in a dict": lambda body, bomb: body + MORE + b"}" + A + bomb + b"ss",
    "key of a dict": lambda body, bomb: body + MORE + b"}" + bomb + b"Nss",
    "deep down": lambda body, bomb: body + MORE + b"](" * 9 + bomb + b"te" * 9 + b"s",
    "next to a state dict": lambda body, bomb: b"}" + STATE + body + b"s" + OPTIMIZER + bomb + b"s",
    "first, and dropped": lambda body, bomb: bomb + b"0" + body,
    "last, and dropped": lambda body, bomb: body + bomb + b"0",
    "state of the dict": lambda body, bomb: body + b"}" + A + bomb + b"sb",
}


@dataclass(frozen=True)
class Form:
    """A file format: the opcodes of a state dict in it, and a function that makes a file of a pickle."""

    body: bytes
    wrap: Callable[[bytes], bytes]

    def file(self, bomb: bytes, place: str = "value") -> bytes:
        """Return a file with the bomb at one of `PLACES`."""
        return self.wrap(whole(PLACES[place](self.body, bomb)))


@dataclass(frozen=True)
class Case:
    """A file, the canary that its execution creates, and whether an unguarded torch.load executes it."""

    name: str
    path: Path
    canary: Path
    live: bool


def whole(opcodes: bytes) -> bytes:
    return b"\x80\x04" + opcodes + b"."


def zipped(entries: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def unzipped(state: object) -> dict[str, bytes]:
    """Return the entries of the archive that torch.save writes."""
    stream = io.BytesIO()
    torch.save(state, stream)
    with zipfile.ZipFile(stream) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def legacy(state: object) -> list[bytes]:
    """Return a file of torch before 1.6: magic number, version, system, state, storages' keys, and the storages."""
    stream, parts, start = io.BytesIO(), [], 0
    torch.save(state, stream, _use_new_zipfile_serialization=False)
    stream.seek(0)
    for _ in range(5):
        for _ in pickletools.genops(stream):
            pass
        parts.append(stream.getvalue()[start : stream.tell()])
        start = stream.tell()
    return [*parts, stream.read()]


def tarred(entries: Mapping[str, bytes]) -> bytes:
    """Return a file of torch before 0.1.10."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in entries.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    return stream.getvalue()


def torchscript(canary: Path) -> dict[str, bytes]:
    """Return the entries of a TorchScript archive whose class creates the canary when it is loaded."""
    code = f"""class M(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def __getstate__(self: __torch__.M) -> bool:
    return self.training
  def __setstate__(self: __torch__.M, state: bool) -> NoneType:
    self.training = bool(torch.gt(torch.numel(torch.from_file("{canary}", True, 4)), 0))
    return None
"""
    pickles = {"archive/data.pkl": b"\x80\x02c__torch__\nM\n)\x81\x88b.", "archive/constants.pkl": b"\x80\x02)."}
    return pickles | {"archive/version": b"3\n", "archive/byteorder": b"little", "archive/code/__torch__.py": code.encode()}


def trapped(state: Mapping[str, Tensor], method: str, value: object) -> dict[str, Tensor]:
    """Return a state dict in which one tensor has `value` for a method; torch's restricted unpickler allows that."""
    key = next(iter(state))
    trap = nn.Parameter(state[key].detach().clone())
    setattr(trap, method, value)
    return {**state, key: trap}


def cases(folder: Path, state: Mapping[str, Tensor], seed: int) -> list[Case]:
    """Write hostile files, each with weights that fit, into `folder`; return the cases."""
    pick, made = random.Random(seed), list[Case]()
    entries, old = unzipped(state), legacy(state)
    data = "archive/data.pkl"
    new = Form(entries[data][2:-1], lambda data: zipped(entries | {"archive/data.pkl": data}))
    forms = {
        "zip": new,
        "legacy": Form(old[3][2:-1], lambda data: b"".join([*old[:3], data, *old[4:]])),
        "plain": Form(b"}", lambda data: data),
    }
    canaries = (folder / f"{number:03}.canary" for number in itertools.count())

    def add(name: str, canary: Path, content: bytes, suffix: str = ".pth", *, live: bool = True) -> None:
        made.append(Case(name, folder / f"{canary.stem}{suffix}", canary, live))
        made[-1].path.write_bytes(content)

    def bomb(canary: Path) -> bytes:
        return bombs.opcodes(canary)["GLOBAL, REDUCE"]

    for name in bombs.calls(folder / "spare"):
        for kind in pick.sample(["zip", "legacy", "plain"], 2):
            canary, place = next(canaries), pick.choice([*PLACES])
            call = bombs.fragment(bombs.calls(canary)[name], pick.choice((2, 3)))
            add(f"{name}: {kind}, {place}", canary, forms[kind].file(call, place))
    for table in (bombs.opcodes, bombs.abused):
        for name, kind in itertools.product(table(folder / "spare"), ("zip", "legacy")):
            canary = next(canaries)
            add(f"{name}: {kind}", canary, forms[kind].file(table(canary)[name]))
    for place, kind in itertools.product(PLACES, forms):
        canary = next(canaries)
        add(f"{place}: {kind}", canary, forms[kind].file(bomb(canary), place))
    for suffix, kind in itertools.product(SUFFIXES, forms):
        canary = next(canaries)
        add(f"{kind} as {suffix!r}", canary, forms[kind].file(bomb(canary)), suffix)
    for number, canary in zip(range(5), canaries, strict=False):
        parts = [part if index != number else whole(bomb(canary) + b"0" + part[2:-1]) for index, part in enumerate(old)]
        add(f"legacy, in pickle {number}", canary, b"".join(parts))
    for entry, canary in zip(ENTRIES, canaries, strict=False):
        add(f"zip, in {entry}", canary, zipped(entries | {f"archive/{entry}": whole(bomb(canary))}), live=False)
    for entry, canary in zip(("storages", "tensors", "pickle"), canaries, strict=False):
        parts = dict.fromkeys(("storages", "tensors", "pickle"), whole(b"K\0"))
        add(f"tar, in {entry}", canary, tarred(parts | {entry: whole(bomb(canary))}), ".tar", live=entry == "storages")
    for suffix, canary in zip((".pth", ".pt", ".tar"), canaries, strict=False):
        add(f"TorchScript as {suffix}", canary, zipped(torchscript(canary)), suffix)
    for method, value in itertools.product(METHODS, (7, torch.Size)):
        add(f"a tensor's {method}: {value!r}", next(canaries), zipped(unzipped(trapped(state, method, value))), live=False)
    for method, value in itertools.product(("get", "items", "keys", "__len__"), (7, torch.Size)):
        own = new.wrap(whole(new.body + bombs.fragment({method: value}) + b"b"))
        add(f"the dict's {method}: {value!r}", next(canaries), own, live=False)
    canary = next(canaries)
    add("a pickle before an archive", canary, whole(bomb(canary)) + new.wrap(entries[data]))
    canary = next(canaries)
    add("a pickle after an archive", canary, new.wrap(entries[data]) + whole(bomb(canary)), live=False)
    canary = next(canaries)
    add("a pickle in the payload", canary, b"\x02\0\0\0\0\0\0\0{}" + whole(bomb(canary)), ".safetensors", live=False)
    return made
