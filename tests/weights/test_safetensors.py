"""Safetensors files: this library and the safetensors package read each other's, and no damaged byte is accepted."""

import json
import random
import re
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import inceptionzoo as iz
from inceptionzoo.weights._safetensors import read_safetensors, write_safetensors
from inceptionzoo.weights._safetensors_header import DIGEST, DTYPES, MARKER

sys.path.append(str(Path(__file__).parents[1] / "reliability"))
from header_edits import EDITS, VALUES
from mutator import Original, assemble
from raw_edits import RAW, TEXT

REMEDY = ("save it again", "rename", "git lfs pull", "download")


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = {name: torch.randint(0, 2, (3, 5), generator=generator).to(dtype) for name, dtype in DTYPES.items()}
    image = torch.randn(2, 3, 4, 5, generator=generator)
    return made | {
        "empty": torch.empty(0),
        "empty side": torch.empty(3, 0, 2, dtype=torch.float16),
        "0-dim": torch.tensor(7),
        "0-dim bool": torch.tensor(True),
        "transposed": image[0, 0].T,
        "strided": image[:, ::2, 1:, ::3],
        "channels_last": image.contiguous(memory_format=torch.channels_last),
        'na"me\\ é\n': image[0],
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype
        torch.testing.assert_close(tensor, right[name], rtol=0, atol=0, equal_nan=True, check_stride=False, msg=name)


def test_files_go_both_ways(tmp_path):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    write_safetensors(ours, tensors(), {MARKER: "x", "note": 'a "quoted" é'})
    assert_same(tensors(), safetensors.torch.load_file(ours))
    read, metadata = read_safetensors(ours)
    assert_same(tensors(), read)
    with safetensors.safe_open(ours, "pt") as file:
        assert file.metadata() == metadata
    assert (metadata[MARKER], metadata["note"], len(metadata[DIGEST])) == ("x", 'a "quoted" é', 64)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors().items()}
    safetensors.torch.save_file(contiguous, theirs, {"format": "pt"})
    read, metadata = read_safetensors(theirs)
    assert_same(tensors(), read)
    assert metadata == {"format": "pt"}
    safetensors.torch.save_file({}, theirs)
    assert read_safetensors(theirs) == ({}, {})


def test_a_dtype_that_the_format_lacks_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(iz.FileError, match=r"w: dtype torch.complex64 must be one of .*torch.float32.*cast it"):
        write_safetensors(path, {"w": torch.zeros(2, dtype=torch.complex64)}, {MARKER: "x"})
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("dtype", [torch.complex64, torch.uint16, torch.float8_e4m3fn])
def test_a_model_with_a_buffer_of_such_a_dtype(tmp_path, register, dtype):
    class Odd(nn.Identity):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("odd", torch.zeros(2).to(dtype))

    register("odd", iz.network(stem=iz.Conv(4, 3), own=iz.Op(lambda _: Odd(), 4)))
    with pytest.raises(iz.FileError, match=f"features.own.odd: dtype {dtype} must be one of .*; cast it first"):
        iz.save_weights(iz.create_model("odd"), tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["U16", "C64", "F8_E4M3", "F4"])
def test_a_sound_file_with_a_dtype_that_is_not_read(tmp_path, dtype):
    path = tmp_path / "a.safetensors"
    path.write_bytes(one(dtype=dtype))
    with pytest.raises(iz.FileError, match=rf"{path}: tensor 'a' has dtype {dtype}, which is not read; cast it to one of F64"):
        iz.load_model(path)


def refused(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        read_safetensors(path)
    except iz.FileError:
        return True
    return False


def test_no_changed_truncated_or_extended_file_with_a_digest_is_accepted(tmp_path, tiny):
    path = tmp_path / "tiny.safetensors"
    iz.save_weights(tiny, path)
    data = path.read_bytes()
    start, pick = 8 + int.from_bytes(data[:8], "little"), random.Random(0)
    places = [*range(start), *pick.sample(range(start, len(data)), 500)]
    flips = [(at, data[at] ^ mask) for at in places for mask in (1 << pick.randrange(8), pick.randrange(1, 256))]
    longer = [data + more for more in (b"\0", b" ", data, b"\0" * 4096)]
    assert [flip for flip in flips if not refused(path, data[: flip[0]] + bytes(flip[1:]) + data[flip[0] + 1 :])] == []
    assert [size for size in range(len(data)) if not refused(path, data[:size])] == []
    assert [len(more) for more in longer if not refused(path, more)] == []
    assert not refused(path, data)


def raw(header: object, payload: bytes = b"") -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(head)) + head + payload


def one(payload: bytes = b"1234", **item: object) -> bytes:
    return raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | item}, payload)


def two(first: tuple[int, int], second: tuple[int, int], payload: int) -> bytes:
    item = {name: {"dtype": "U8", "shape": [4], "data_offsets": span} for name, span in (("a", first), ("b", second))}
    return raw(item, bytes(payload))


def marked(**metadata: object) -> bytes:
    return raw({"__metadata__": metadata})


ITEM = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
WHOLE, PAIR = "lists of whole numbers", "both 'inceptionzoo' and 'inceptionzoo_digest', or neither"
FAULTS = {
    "empty": (b"", "0 bytes"),
    "header longer than the file": (struct.pack("<Q", 100) + b"{}", "10 bytes cannot hold a header of 100"),
    "header of 2**63": (struct.pack("<Q", 2**63) + b"{}", "header of 9223372036854775808"),
    "leading blank": (raw(b" {" + ITEM + b"}", b"1234"), "must start with '{'"),
    "not JSON": (raw(b"{nope}"), "damaged"),
    "not UTF-8": (raw(b'{"\xff":{}}'), "utf-8"),
    "deep nesting": (
        raw(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "recursion|Stack overflow",
    ),  # Python 3.14 says the latter
    "huge number": (raw(b'{"a":' + b"9" * 5000 + b"}"), "4300 digits"),
    "key twice": (raw(b"{" + ITEM + b"," + ITEM + b"}", b"1234"), "key 'a' appears twice"),
    "inner key twice": (raw(b"{" + ITEM[:-1] + b',"shape":[1]}}', b"1234"), "key 'shape' appears twice"),
    "metadata not strings": (marked(a=1), "must map strings to strings"),
    "tensor not an object": (raw({"a": 1}), "tensor 'a' must have dtype, shape and data_offsets"),
    "huge side": (one(shape=[2**40]), "has a side above 2147483648"),
    "many elements": (one(shape=[2**31] * 9), "takes .* bytes, not 4"),
    "no elements, huge sides": (one(b"", shape=[0, 2**31, 2**31, 2**31], data_offsets=[0, 0]), "tensor 'a'"),
    "10,000 dimensions": (one(shape=[1] * 10_000), "tensor 'a'"),
    "offsets reversed": (one(data_offsets=[4, 0]), "takes 4 bytes, not -4"),
    "wrong count": (one(shape=[2]), "takes 8 bytes, not 4"),
    "payload too long": (one(b"12345"), "take 4 bytes and the file holds 5"),
    "hole": (two((0, 4), (5, 9), 9), "tensor 'b' must start at byte 4, not 5"),
    "overlap": (two((0, 4), (2, 6), 6), "tensor 'b' must start at byte 4, not 2"),
    "the same bytes twice": (two((0, 4), (0, 4), 4), "tensor 'b' must start at byte 4, not 0"),
    "marker without digest": (marked(inceptionzoo="x"), PAIR),
    "digest without marker": (marked(inceptionzoo_digest="0" * 64), PAIR),
    "short digest": (marked(inceptionzoo="x", inceptionzoo_digest="00"), "64 hexadecimal digits"),
    "digest not ASCII": (marked(inceptionzoo="x", inceptionzoo_digest="é" + "0" * 63), "64 hexadecimal digits"),
    "half a surrogate pair in the metadata": (marked(note="\ud800"), "surrogates not allowed"),
    "half a surrogate pair in a name": (raw(b'{"\\ud800"' + ITEM[3:] + b"}", b"1234"), "surrogates not allowed"),
    "minus zero": (raw(b'{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'), WHOLE),
    "digest key in other form": (raw(json.dumps({"__metadata__": {MARKER: "x", DIGEST: "0" * 64}}).encode()), "exactly once"),
    "wrong digest": (marked(inceptionzoo="x", inceptionzoo_digest="0" * 64), "do not match its own digest"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git-LFS pointer"),
    "HTML": (b"<!DOCTYPE html><html></html>", "an HTML page"),
    "HTML in small letters": (b"<!doctype html><html></html>", "an HTML page"),
    **{f"shape {shape}": (one(shape=shape), WHOLE) for shape in ([-1], [True], [1.0], ["1"], [[1]], 1, None)},
    **{f"offsets {span}": (one(data_offsets=span), WHOLE) for span in ([-4, 0], [False, 4], [0, 4, 4], [4], 4)},
    **{f"dtype {dtype}": (one(dtype=dtype), "tensor 'a' has dtype") for dtype in ("f32", 1, None, ["F32"], {})},
    "a .pth": (b"PK\x03\x04" + bytes(60), r"a \.pth archive"),
}


@pytest.mark.parametrize(("data", "text"), FAULTS.values(), ids=FAULTS)
def test_each_error_names_the_file_and_a_remedy(tmp_path, data, text):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(data)
    with pytest.raises(iz.FileError, match=text) as error:
        iz.load_model(path)
    assert str(path) in str(error.value)
    assert any(remedy in str(error.value) for remedy in REMEDY), str(error.value)


def test_loaded_tensors_own_their_memory(tmp_path):
    path = tmp_path / "a.safetensors"
    before = torch.arange(100_000.0)
    write_safetensors(path, {"a": before, "b": before}, {MARKER: "x"})
    read, _ = read_safetensors(path)
    with open(path, "r+b") as file:
        file.write(b"\xff" * (path.stat().st_size // 2))
        file.truncate(1000)
    assert read["a"].equal(before)
    read["a"].zero_()
    assert read["b"].equal(before)


# --- compared with the safetensors package -------------------------------------------------------------------------------
STRICTER = {  # part of this reader's message: a file that it refuses and the package accepts
    "must start with '{'": raw(b" {}"),
    "has a side above 2147483648": one(b"", shape=[0, 2**32], data_offsets=[0, 0]),
    "or more than 16 dimensions": one(b"1234", shape=[1] * 17),
    "has no elements and its other sides are too large": one(b"", shape=[0, 2**31, 2], data_offsets=[0, 0]),
    "appears twice": raw(b"{" + ITEM + b"," + ITEM + b"}", b"1234"),
    "cast it to one of F64": one(dtype="U32"),
    "must have dtype, shape and data_offsets": one(more=1),
    "__metadata__ must map strings to strings": raw(b'{"__metadata__":null}'),
    "must hold both": marked(inceptionzoo="x"),
    "64 hexadecimal digits": marked(inceptionzoo="x", inceptionzoo_digest="00"),
    "exactly once, as this library writes it": raw(json.dumps({"__metadata__": {MARKER: "x", DIGEST: "0" * 64}}).encode()),
    "do not match its own digest": marked(inceptionzoo="x", inceptionzoo_digest="0" * 64),
}


@pytest.mark.parametrize(("message", "data"), STRICTER.items(), ids=STRICTER)
def test_the_package_accepts_what_only_this_reader_refuses(tmp_path, message, data):
    (tmp_path / "a.safetensors").write_bytes(data)
    safetensors.torch.load(data)
    with pytest.raises(iz.FileError, match=re.escape(message)):
        read_safetensors(tmp_path / "a.safetensors")


def mutants(original: Original, count: int) -> Iterator[bytes]:
    """Yield files with one change: to bytes of the file, to the text of its header, or to values in its header."""
    spans = {name: original.header[name]["data_offsets"] for name in original.names}
    names = [name for name, (begin, end) in spans.items() if end - begin >= 8]  # large enough for every edit
    marked = MARKER in original.header["__metadata__"]
    edits = [edit for edit in (*EDITS, *VALUES) if marked or "mark" not in edit.__name__]
    for seed in range(count):
        pick = random.Random(seed)
        edit = pick.choice(pick.choice((RAW, TEXT, edits)))
        if edit in RAW:
            yield edit(original.data, original.end, pick)
        elif edit in TEXT:
            yield assemble(edit(original.head, pick), original.payload, seal=pick.random() < 0.5)
        else:
            header = original.copy()
            payload = edit(header, original.payload, pick.choice(names), pick)
            head = json.dumps(header, separators=(",", ":")).encode()
            yield assemble(head, payload, seal=pick.random() < 0.5)


@pytest.mark.parametrize(("metadata", "accepted"), [({"format": "pt"}, 300), ({MARKER: "x"}, 100)], ids=["plain", "digest"])
def test_damaged_files_are_read_as_by_the_package_or_refused(tmp_path, metadata, accepted):
    """What this reader accepts, the package accepts with the same values; `STRICTER` lists what only this reader refuses."""
    path = tmp_path / "a.safetensors"
    write_safetensors(path, tensors(), metadata)
    counts = Counter()
    for data in mutants(Original(path.read_bytes()), 1500):
        path.write_bytes(data)
        ours, message = tried(read_safetensors, path, iz.FileError)
        theirs, refusal = tried(safetensors.torch.load, data, safetensors.SafetensorError)
        if ours is not None:
            assert theirs is not None, refusal
            assert_same_bytes(ours[0], theirs)
        elif theirs is not None:
            assert any(part in message for part in STRICTER), message
        counts[ours is not None, theirs is not None] += 1
    assert counts[True, True] >= accepted
    assert counts[False, False] >= 600


def tried(read: Callable[[Any], Any], source: object, error: type[Exception]) -> tuple[Any, str]:
    """Return what is read, or None and the error's message."""
    try:
        return read(source), ""
    except error as caught:
        return None, str(caught)


def assert_same_bytes(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert (tensor.dtype, tensor.shape) == (right[name].dtype, right[name].shape)
        assert tensor.reshape(-1).view(torch.uint8).equal(right[name].reshape(-1).view(torch.uint8)), name


@pytest.mark.parametrize("length", range(8))
def test_the_data_begin_at_a_multiple_of_eight_bytes(tmp_path, length):
    """So that a reader can map the file into memory."""
    write_safetensors(tmp_path / "a.safetensors", {"x" * (1 + length): torch.zeros(1)}, {})
    assert int.from_bytes((tmp_path / "a.safetensors").read_bytes()[:8], "little") % 8 == 0


def test_a_file_is_read_into_memory_whatever_the_default_device(tmp_path):
    model = iz.create_model("googlenet_cifar", num_classes=2)
    iz.save_weights(model, tmp_path / "a.safetensors")
    with torch.device("meta"):
        loaded = iz.load_model(tmp_path / "a.safetensors", device="cpu")
    assert loaded.head.fc.weight.equal(model.head.fc.weight)
