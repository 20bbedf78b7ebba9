"""Keep what autotuning found, and compiled kernels, in the user's cache, so that the next process need not repeat it.

What is kept is valid for one processor and one version of torch, llvmlite and this library. A file that is damaged, foreign or
unreadable is ignored, as is a folder that cannot be written; the log tells. Machine code is read only from files that no other
user can write.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import platform
import shutil
import stat
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import get_ident

import torch

from ..weights.download import cache_folder

VARIABLE = "INCEPTIONZOO_TUNING_CACHE"  # an environment variable; "0" turns the cache off
RESULTS = "results.json"
MAX_BYTES = 16 << 20  # of a file that is read
DIGEST_BYTES = hashlib.sha256().digest_size
LOG = logging.getLogger(__name__)

_NEW: dict[str, str] = {}  # results of this process that are not written yet


def tuning_cache_folder() -> Path:
    """Return the folder where results of tuning are kept: in INCEPTIONZOO_CACHE, else in the user's cache (XDG_CACHE_HOME)."""
    return cache_folder() / "tuning"


def clear_tuning_cache() -> int:
    """Remove what is kept of tuning, and the compiled kernels; return the number of bytes that they took.

    Raises:
        OSError: a file cannot be removed.
    """
    size = tuning_cache_bytes()
    if size:
        shutil.rmtree(tuning_cache_folder())
    _stored.cache_clear()
    _NEW.clear()
    return size


def tuning_cache_bytes() -> int:
    """Return the number of bytes in the cache."""
    return sum(path.stat().st_size for path in tuning_cache_folder().rglob("*") if path.is_file())


def is_enabled() -> bool:
    """Return whether the environment allows the cache."""
    return os.environ.get(VARIABLE) != "0"


def find_result(operation: str) -> str | None:
    """Return the name of the implementation that was the fastest for an operation, or None."""
    return _NEW.get(operation) or _stored().get(operation) if is_enabled() else None


def add_result(operation: str, name: str) -> None:
    """Keep the name of the fastest implementation; `write_results` writes it."""
    if is_enabled():
        _NEW[operation] = name


@atexit.register
def write_results() -> None:
    """Write the new results beside those that other processes have written."""
    if not _NEW or not is_enabled():
        return
    _stored.cache_clear()
    results = {**_stored(), **_NEW}
    _stored.cache_clear()
    _NEW.clear()
    _write(RESULTS, json.dumps({"machine": machine(), "results": results}, indent=1).encode())


def machine_code(key: str, compile_source: Callable[[], bytes]) -> bytes:
    """Return the machine code of this key from the cache, else that of `compile_source`, which is then kept."""
    if not is_enabled():
        return compile_source()
    name = f"{hashlib.sha256(key.encode()).hexdigest()}.o"
    content = _read(name)
    if content is not None and hashlib.sha256(content[DIGEST_BYTES:]).digest() == content[:DIGEST_BYTES]:
        return content[DIGEST_BYTES:]
    code = compile_source()
    _write(name, hashlib.sha256(code).digest() + code)
    return code


@cache
def _stored() -> dict[str, str]:
    """Return the results in the file of this machine, by operation."""
    content = _read(RESULTS)
    if content is None:
        return {}
    try:
        found = json.loads(content)
        if found["machine"] == machine():
            return {str(key): str(value) for key, value in found["results"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        LOG.info("the tuning results in %s are damaged and are measured again: %r", _machine_folder(), error)
    return {}


@cache
def machine() -> dict[str, str]:
    """Return what the results depend on: the processor and the versions."""
    found = {name: _version(name) for name in ("torch", "llvmlite", "inceptionzoo")}
    found["processor"] = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    try:
        from llvmlite import binding
    except (ImportError, OSError):
        return found
    features = hashlib.sha256(binding.get_host_cpu_features().flatten().encode()).hexdigest()[:16]
    return {**found, "features": f"{binding.get_host_cpu_name()} {features}"}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout on PYTHONPATH, or a missing package
        return "unknown"


def _machine_folder() -> Path:
    return tuning_cache_folder() / hashlib.sha256(json.dumps(machine(), sort_keys=True).encode()).hexdigest()[:16]


def _read(name: str) -> bytes | None:
    """Return the content of a file of this machine, or None if it is missing or too large, or if others can write it."""
    try:
        if not _is_own(_machine_folder().stat()):
            LOG.info("the tuning cache in %s is ignored: other users can write it", _machine_folder())
            return None
        with (_machine_folder() / name).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        LOG.info("the tuning cache cannot be read: %s", error)
        return None
    return content if len(content) <= MAX_BYTES else None


def _is_own(status: os.stat_result) -> bool:
    """Return whether a folder belongs to this user and no other can write to it."""
    return os.name != "posix" or (status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _write(name: str, content: bytes) -> None:
    """Replace a file of this machine. What is lost in a power failure is found again, so nothing is flushed to the disk."""
    try:
        _machine_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = _machine_folder() / f".{name}.{os.getpid()}.{get_ident()}.tmp"
        try:
            temporary.write_bytes(content)
            os.replace(temporary, temporary.with_name(name))
        except BaseException:  # a full disk, or an interrupt
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as error:
        LOG.info("the tuning cache cannot be written: %s", error)
