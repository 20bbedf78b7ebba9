"""Write a file completely or not at all."""

from __future__ import annotations

import errno
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary stream whose content replaces the file at `path` if the block ends without an error.

    Until then, and after an error, `path` is unchanged. The order is write, fsync, rename, fsync of the folder. The file's
    mode follows the umask. A symlink stays a symlink. Temporary files that killed writers of the path left are removed first,
    if the file system supports locks.

    Raises:
        OSError: the folder does not exist, `path` is a folder itself, or the write fails.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():  # the error of the temporary file would name that file
        raise FileNotFoundError(errno.ENOENT, f"the folder {target.parent} does not exist; create it first", str(path))
    if target.is_dir():  # `os.replace` would raise this error after the write, and name the temporary file
        raise IsADirectoryError(errno.EISDIR, "this is a folder; pass the path of a file", str(path))
    _remove_orphans(target)
    try:
        temporary, stream = _create_temporary(target)
    except OSError as error:  # it would name the temporary file
        raise _naming(path, error) from error
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if os.name == "posix":  # while it is locked
                os.replace(temporary, target)
        if os.name != "posix":  # Windows cannot rename an open file
            os.replace(temporary, target)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, temporary):
            raise _naming(path, error) from error  # it names no file, or the temporary one
        raise
    _sync_folder(target.parent)


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text, in UTF-8, by `atomic_write`."""
    with atomic_write(path) as stream:
        stream.write(text.encode())


def _naming(path: Path, error: OSError) -> OSError:
    """Return the error with `path` as the name of its file."""
    return type(error)(error.errno, error.strerror, str(path))


def _create_temporary(target: Path) -> tuple[Path, BinaryIO]:
    """Create a temporary file in the target's folder; it is locked until its stream is closed, if the system has locks."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
        stream = os.fdopen(descriptor, "wb")
        if try_lock(descriptor) is not False and temporary.exists():
            return temporary, stream
        stream.close()  # another writer's `_remove_orphans` ran between creation and lock, and has removed the file


def _remove_orphans(target: Path) -> None:
    """Remove the temporary files of this target that no running process has locked."""
    for orphan in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.tmp"):
        with suppress(OSError):
            if os.name != "posix":
                os.unlink(orphan)  # Windows refuses to remove an open file
                continue
            with open(orphan, "r+b") as stream:
                if try_lock(stream.fileno()):
                    os.unlink(orphan)


def try_lock(descriptor: int) -> bool | None:
    """Return whether an exclusive lock was taken; None if the system or the file system has no locks (Lustre, some NFS).

    The lock ends when the file is closed, or when the process ends or is killed.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sync_folder(folder: Path) -> None:
    """Flush a rename in `folder` to the disk, so that it survives a power failure."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
