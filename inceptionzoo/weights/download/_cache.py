"""Cache folders, and reading of cached files, whose bytes are checked each time."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from ...errors import ArgumentError, DownloadError, FileError
from .. import Checksum, try_lock

T = TypeVar("T")
Folder = str | os.PathLike[str] | None
UNFINISHED, LOCK = ".unfinished-", ".lock"  # names of a folder, and of a file in it
Reader = Callable[[Path, Checksum | None], T]  # reads a file and raises FileError if it has another checksum


def cache_folder() -> Path:
    """Return this library's cache: the folder INCEPTIONZOO_CACHE, else ~/.cache/inceptionzoo."""
    return Path(os.environ.get("INCEPTIONZOO_CACHE") or _user_cache() / "inceptionzoo").expanduser()


def checkpoint_folder(cache_dir: Folder) -> Path:
    """Return the folder of checkpoints: in `cache_dir`, else in this library's cache."""
    return Path(_checked(cache_dir) or cache_folder()).expanduser() / "checkpoints"


def torch_checkpoint_folder() -> Path:
    """Return torch.hub's folder of checkpoints, from the environment variables that torch.hub documents."""
    return Path(os.environ.get("TORCH_HOME") or _user_cache() / "torch").expanduser() / "hub" / "checkpoints"


def keras_checkpoint_folder() -> Path:
    """Return the folder where Keras keeps downloaded weights: in KERAS_HOME, else in ~/.keras."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser() / "models"


def hub_folder(cache_dir: Folder) -> Path:
    """Return the Hub's cache: `cache_dir`, else huggingface_hub's own (HF_HUB_CACHE, HF_HOME)."""
    from huggingface_hub import constants

    return Path(_checked(cache_dir) or constants.HF_HUB_CACHE).expanduser()


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _checked(cache_dir: Folder) -> Folder:
    if cache_dir is not None and not isinstance(cache_dir, str | os.PathLike):
        raise ArgumentError(f"cache_dir={cache_dir!r} must be the path of a folder")
    return cache_dir


def is_offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids downloads."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside `folder` for unfinished downloads, and remove it at the end.

    Folders that killed processes left are removed first, if the file system supports locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError), open(path / LOCK, "rb") as stream:
            if try_lock(stream.fileno()):
                shutil.rmtree(path, ignore_errors=True)
    with ExitStack() as stack:
        while True:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder, ignore_cleanup_errors=True))
            lock = stack.enter_context(open(Path(name, LOCK), "wb"))
            if try_lock(lock.fileno()) is not False and Path(name, LOCK).exists():
                break  # locked until the end of the block or of the process
        yield Path(name)


def read_cached(path: Path, checksum: Checksum | None, read: Reader[T]) -> tuple[T] | None:
    """Return `read(path, checksum)` in a tuple, or None if the file is gone; warn and return None if it is damaged.

    Raises:
        FileError: `read` refuses the file although its checksum is right.
        DownloadError: the file is damaged, and HF_HUB_OFFLINE is set.
    """
    try:
        return (read(path, checksum),)
    except FileNotFoundError:  # another process has removed it
        return None
    except FileError as error:
        if checksum is None:
            raise
        if checksum.matches(path):  # `read` refuses it, or another process has just replaced a damaged file
            return (read(path, checksum),)
        if is_offline():
            raise DownloadError(f"{error}; HF_HUB_OFFLINE is set: unset it to download the file again") from error
        warnings.warn(f"{error}; the cached file is damaged and downloaded again", stacklevel=2)
        return None
