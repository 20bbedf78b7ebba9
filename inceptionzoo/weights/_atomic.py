"""Write a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Yield a stream whose content stands at `path` once the block ends well; until then `path` is as it was.

    The order is write, fsync, rename, fsync of the folder; the file's mode follows the umask; a symlink stays one. What
    writers of the same path left behind when they were killed is removed first, where the file system can tell.

    Raises:
        OSError: the folder does not exist, or the disk refuses.
    """
    target = Path(os.path.realpath(path))
    _sweep(target)
    temporary, stream = _create(target)
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if os.name == "posix":  # while it is locked
                os.replace(temporary, target)
        if os.name != "posix":  # Windows renames nothing that is open
            os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _create(target: Path) -> tuple[Path, BinaryIO]:
    """Return a new temporary beside the target, locked for as long as its stream is open, where that can be."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
        stream = os.fdopen(handle, "wb")
        if _lock(handle) is not False and temporary.exists():
            return temporary, stream
        stream.close()  # another writer's sweep came between the lines above, and has removed it


def _sweep(target: Path) -> None:
    """Remove the temporaries of this target that no living process holds."""
    for orphan in target.parent.glob(f".{_literal(target.name)}.{'[0-9a-f]' * 8}.tmp"):
        with suppress(OSError):
            if os.name != "posix":
                os.unlink(orphan)  # Windows refuses where it is open
                continue
            with open(orphan, "r+b") as stream:
                if _lock(stream.fileno()):
                    os.unlink(orphan)


def _literal(name: str) -> str:
    """Return a name as a pattern that matches it alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _lock(handle: int) -> bool | None:
    """Return whether the file is ours until it is closed, or the process ends in whatever way; None where nobody can tell.

    Not every file system has locks (Lustre, some of NFS): then nothing is swept.
    """
    if os.name != "posix":
        return None
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlive a power cut, where the system lets a folder be opened."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
