"""Changes to a .safetensors header, and to the payload if the change needs it.

An edit is (header, payload, name of a tensor, random) -> payload. It changes the header in place.
"""

from __future__ import annotations

import struct
from random import Random
from typing import Any

MARKER, DIGEST = "inceptionzoo", "inceptionzoo_digest"
Header = dict[str, Any]
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
DTYPES = [*SIZES, "U64", "F8_E4M3", "C64", "f32", "", None, 7, ["F32"]]
NUMBERS = [0, 1, 2, 3, -1, 2**31, 2**32, 2**63, 2**64, 10**30, 10**4299, 1.0, 0.5, 1e300, float("nan"), float("inf")]
ODD = [*NUMBERS, True, False, None, "", "1", "avg", [], {}, [[]], [1], ["a", "a", "b"], {"a": 1}, "a" * 5000, "\0", "\ud800"]
TEXTS = ["", "aux.x", "module.x", "\0", "\ud800", "a" * 5000, "__metadata__", "features", "../../x", "\u2028", "head.fc.weight"]


def _move(header: Header, end: int, by: int) -> None:
    """Shift the offsets of all tensors after byte `end` of the payload."""
    for key, item in header.items():
        if key != "__metadata__" and item["data_offsets"][0] >= end:
            item["data_offsets"] = [place + by for place in item["data_offsets"]]


# --- offsets and shapes -------------------------------------------------------------------------------------------------
def rename(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    new = pick.choice((*TEXTS, name[:-1], name.upper(), f"module.{name}", f"_orig_mod.module.{name}", name + "\0"))
    header[new] = header.pop(name)
    return payload


def rename_all(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    prefix = pick.choice(("module.", "_orig_mod.", "module._orig_mod.module.", "x.", "model."))
    for key in [key for key in header if key != "__metadata__"]:
        header[prefix + key] = header.pop(key)
    return payload


def drop(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    del header[name]
    return payload


def take_out(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    begin, end = header.pop(name)["data_offsets"]
    _move(header, end, begin - end)
    return payload[:begin] + payload[end:]


def add(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    shape = pick.choice(([2], [], [0], [0, 2**40], [0] * 70, [1] * 70, [2, 1]))
    count = 4 * (0 if 0 in shape else 2 if 2 in shape else 1)
    place = [len(payload), len(payload) + count]
    header[pick.choice(TEXTS)] = {"dtype": "F32", "shape": shape, "data_offsets": place}
    return payload + bytes(count)


def other_dtype(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    header[name]["dtype"] = pick.choice(DTYPES)
    return payload


def other_shape(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    item = header[name]
    shape = list(item["shape"])
    other = [shape[::-1], [1, *shape], [*shape, 1], shape[1:], [*shape, 2**40], [-side for side in shape], [0, *shape], None]
    item["shape"] = pick.choice((*other, *ODD))
    return payload


def other_side(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    shape = header[name]["shape"] = list(header[name]["shape"]) or [1]
    shape[pick.randrange(len(shape))] = pick.choice(ODD)
    return payload


def other_place(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    begin, end = header[name]["data_offsets"]
    near = [[begin + less, end + more] for less, more in ((-4, 0), (0, 4), (4, 4), (-4, -4))]
    near += [[end, begin], [begin], [begin, end, end]]
    header[name]["data_offsets"] = pick.choice((*near, [begin, pick.choice(ODD)], [pick.choice(ODD), end], pick.choice(ODD)))
    return payload


def swap_places(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    one, other = header[name], header[pick.choice([key for key in header if key != "__metadata__"])]
    one["data_offsets"], other["data_offsets"] = other["data_offsets"], one["data_offsets"]
    if pick.random() < 0.5:
        one["shape"], other["shape"] = other["shape"], one["shape"]
        one["dtype"], other["dtype"] = other["dtype"], one["dtype"]
    return payload


def other_item(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    whole = header[name]
    gone = pick.choice(list(whole))
    less = {key: value for key, value in whole.items() if key != gone}
    header[name] = pick.choice((less, {**whole, "x": 1}, list(whole), *ODD))
    return payload


# --- metadata ------------------------------------------------------------------------------------------------------------
def other_metadata(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    texts = header["__metadata__"]
    header["__metadata__"] = pick.choice((*ODD, [texts], {**texts, "x": 1}, {**texts, "x": "y"}, {}, {MARKER: texts}))
    return payload


def no_metadata(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    del header["__metadata__"]
    return payload


def no_marks(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    del header["__metadata__"][MARKER], header["__metadata__"][DIGEST]
    return payload


def one_mark(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    del header["__metadata__"][pick.choice((MARKER, DIGEST))]
    return payload


def other_mark(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    texts = header["__metadata__"]
    key, value = pick.choice((MARKER, DIGEST)), texts[DIGEST]
    texts[key] = pick.choice((value.upper(), value[:-1], value + "0", "0" * 64, value[::-1], "g" * 64, *TEXTS, *ODD))
    return payload


EDITS = [rename, rename_all, drop, take_out, add, other_dtype, other_shape, other_side, other_place, swap_places, other_item]
EDITS += [other_metadata, no_metadata, no_marks, one_mark, other_mark]


# --- values, with correct shapes -----------------------------------------------------------------------------------------
def other_value(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    begin, end = header[name]["data_offsets"]
    kind = "d" if header[name]["dtype"] == "I64" else "f"  # the bits of a float64 are an odd int64
    number = pick.choice((*map(float, ("nan", "inf", "-inf")), -1.0, -0.0, 0.0, 3e38, 1e-45, -1e-45))
    value = struct.pack(f"<{kind}", number)
    at = begin + len(value) * pick.randrange((end - begin) // len(value))
    return payload[:at] + value + payload[at + len(value) :]


def other_width(header: Header, payload: bytes, name: str, pick: Random) -> bytes:
    begin, end = header[name]["data_offsets"]
    dtype = pick.choice(("F64", "F16", "BF16", "I32", "BOOL", "U8"))
    count = (end - begin) // SIZES[header[name]["dtype"]] * SIZES[dtype]
    _move(header, end, begin + count - end)
    header[name] = {**header[name], "dtype": dtype, "data_offsets": [begin, begin + count]}
    fill = pick.choice((bytes(count), pick.randbytes(count), b"\1" * count, b"\x40" * count))
    return payload[:begin] + fill + payload[end:]


VALUES = [other_value, other_value, other_width]
