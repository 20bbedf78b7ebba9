"""Check a file's bytes against a published checksum."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import FileError

CHUNK = 1 << 20
SHA256 = 64  # hexadecimal digits of a sha256


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum of a file: its first hexadecimal `digits`, and their `kind`.

    The kinds are "sha256", "sha1", "md5", and "git", the name of a git blob.
    """

    kind: str
    digits: str

    @classmethod
    def from_etag(cls, etag: str) -> Checksum:
        """Return the checksum in a Hub etag: 64 digits are a sha256, 40 digits are the name of a git blob."""
        return cls("sha256" if len(etag) == SHA256 else "git", etag)

    @classmethod
    def of_file(cls, path: Path) -> Checksum:
        """Return the sha256 of a file."""
        with open(path, "rb") as stream:
            return cls("sha256", hashlib.file_digest(stream, "sha256").hexdigest())

    def hasher(self, size: int) -> hashlib._Hash:
        """Return a hash object for a file of `size` bytes; update it with all the bytes, then call `check`."""
        return hashlib.sha1(b"blob %d\0" % size) if self.kind == "git" else hashlib.new(self.kind)

    def check(self, hasher: hashlib._Hash) -> None:
        """Check that the hash of the bytes is this one.

        Raises:
            ValueError: it is another.
        """
        digits = hasher.hexdigest()[: len(self.digits)]
        if digits != self.digits:
            raise ValueError(f"its {self.kind} is {digits} and must be {self.digits}")

    def check_bytes(self, data: bytes) -> None:
        """Check the bytes of a file.

        Raises:
            ValueError: they have another checksum.
        """
        hasher = self.hasher(len(data))
        hasher.update(data)
        self.check(hasher)

    def check_stream(self, stream: BinaryIO) -> None:
        """Check the bytes of an open file, which is read from its start to its end.

        Raises:
            ValueError: they have another checksum.
        """
        hasher = self.hasher(os.fstat(stream.fileno()).st_size)
        stream.seek(0)
        while chunk := stream.read(CHUNK):
            hasher.update(chunk)
        self.check(hasher)

    def verify(self, stream: BinaryIO, path: Path) -> None:
        """Check the bytes of the open file at `path`, and go back to its start.

        Raises:
            FileError: they have another checksum; the message names the file.
        """
        try:
            self.check_stream(stream)
        except ValueError as error:
            raise FileError(f"{path} is damaged: {error}; download it again") from error
        stream.seek(0)

    def check_file(self, path: Path) -> None:
        """Check the file at `path`.

        Raises:
            FileError: it has another checksum.
        """
        try:
            with open(path, "rb") as stream:
                self.check_stream(stream)
        except ValueError as error:
            raise FileError(str(error)) from error

    def matches(self, path: Path) -> bool:
        """Return whether the file at `path` has this checksum."""
        try:
            self.check_file(path)
        except FileError:
            return False
        return True
