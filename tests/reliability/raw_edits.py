"""Changes to bytes.

`RAW` changes a whole file and knows only where its header ends: (data, end, random) -> data. `TEXT` changes a header into
what no JSON writer would produce: (header, random) -> header.
"""

from __future__ import annotations

import struct
from random import Random

STARTS = (b"", b"PK\3\4", b"version https://git-lfs", b"<html>", b"<!DOCTYPE html>", b"\x80\2", bytes(8))


def flip(data: bytes, at: int, pick: Random) -> bytes:
    """Return the data with one bit of byte `at` changed."""
    return data[:at] + bytes([data[at] ^ 1 << pick.randrange(8)]) + data[at + 1 :]


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at:]


def flip_in_length(data: bytes, end: int, pick: Random) -> bytes:
    return flip(data, pick.randrange(8), pick)


def flip_in_header(data: bytes, end: int, pick: Random) -> bytes:
    return flip(data, pick.randrange(8, end), pick)


def flip_in_payload(data: bytes, end: int, pick: Random) -> bytes:
    return flip(data, pick.randrange(end, len(data)), pick)


def several_bytes(data: bytes, end: int, pick: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(pick.randrange(1, 20)):
        changed[pick.randrange(len(data))] = pick.choice((0, 255, 34, 44, 58, 91, 123, pick.randrange(256)))
    return bytes(changed)


def cut(data: bytes, end: int, pick: Random) -> bytes:
    return data[: pick.choice((pick.randrange(len(data)), pick.randrange(64), end, end + 1, len(data) - 1))]


def append(data: bytes, end: int, pick: Random) -> bytes:
    return data + pick.choice((b"\0", b"\n", bytes(8), data, pick.randbytes(pick.randrange(1, 99))))


def prepend(data: bytes, end: int, pick: Random) -> bytes:
    return pick.choice((b"\0", b"\xef\xbb\xbf", b" ", pick.randbytes(8), data)) + data


def insert(data: bytes, end: int, pick: Random) -> bytes:
    return _put(data, pick.randrange(len(data)), pick.randbytes(pick.randrange(1, 9)))


def remove(data: bytes, end: int, pick: Random) -> bytes:
    at = pick.randrange(len(data))
    return data[:at] + data[at + pick.randrange(1, 99) :]


def move(data: bytes, end: int, pick: Random) -> bytes:
    one, two, three = sorted(pick.randrange(len(data)) for _ in range(3))
    return data[:one] + data[two:three] + data[one:two] + data[three:]


def zeros(data: bytes, end: int, pick: Random) -> bytes:
    at, size = pick.randrange(len(data)), pick.choice((16, 512, 4096))
    return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]


def other_length(data: bytes, end: int, pick: Random) -> bytes:
    length = pick.choice((0, 1, 2, end - 9, end - 7, len(data) - 8, 2**26, 10**8 + 1, 2**63, 2**64 - 1))
    return struct.pack("<Q", length) + data[8:]


def other_start(data: bytes, end: int, pick: Random) -> bytes:
    return pick.choice(STARTS) + data[pick.choice((0, 8, 16)) :]


RAW = [flip_in_length, flip_in_header, flip_in_header, flip_in_payload, flip_in_payload, several_bytes, cut, cut, append]
RAW += [prepend, insert, remove, move, zeros, other_length, other_start]


# --- headers --------------------------------------------------------------------------------------------------------------
def key_twice(head: bytes, pick: Random) -> bytes:
    twice = (b'"__metadata__":{},', b'"head.fc.bias":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},', b'"a":1,"a":1,')
    many = ",".join(f'"k{number}":1' for number in range(30_000)).encode() + b',"k29999":1,' if pick.random() < 0.02 else b""
    return _put(head, 1, many or pick.choice(twice))


def mark_twice(head: bytes, pick: Random) -> bytes:
    start = b'{"__metadata__":{'
    key, value = pick.choice((b"inceptionzoo", b"inceptionzoo_digest")), pick.choice((b"0" * 64, b""))
    return head.replace(start, start + pick.choice((b'"%s":"%s",', b'"%s": "%s",')) % (key, value), 1)


def blanks(head: bytes, pick: Random) -> bytes:
    blank = pick.choice((b" ", b"\n", b"\t\r", b" " * 999, b"\0", b"\xef\xbb\xbf", b"\xc2\xa0"))
    at = pick.choice((0, 1, len(head.rstrip()), len(head), head.find(b",") + 1))
    return _put(head, at, blank)


def rest(head: bytes, pick: Random) -> bytes:
    return head.rstrip() + pick.choice((b"x", b"{}", b",", b"}", b"\0" * 8, b"//", b"\x80"))


def not_text(head: bytes, pick: Random) -> bytes:
    odd = (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\0", b"\n", b"\\u0000", b"\\ud800", b"\\")
    return insert(head, 0, pick) if pick.random() < 0.2 else _put(head, pick.randrange(len(head)), pick.choice(odd))


def deep(head: bytes, pick: Random) -> bytes:
    depth = pick.choice((10, 500, 990, 5000, 100_000))
    inner = pick.choice((b"[", b'{"a":')) * depth
    return pick.choice((inner, b'{"a":' + inner, head[:1] + b'"x":' + b"[" * depth + b"]" * depth + b"," + head[1:]))


def number(head: bytes, pick: Random) -> bytes:
    new = pick.choice((b"9" * 5000, b"9" * 4000, b"-0", b"1e999", b"4.0", b"04", b"NaN", b"0x4", b"4e0", b"+4", b"Infinity"))
    at = head.find(b":[", pick.randrange(len(head))) + 2
    return head[:at] + new + head[at:].lstrip(b"0123456789")


def other_spelling(head: bytes, pick: Random) -> bytes:
    spellings = ((b'"', b"'"), (b'":', b'" :'), (b'"F32"', b'"\\u004632"'), (b"{", b"["), (b"features", b"\\u0066eatures"))
    one, other = pick.choice(spellings)
    return head.replace(one, other)


TEXT = [key_twice, mark_twice, blanks, rest, not_text, deep, number, other_spelling]
