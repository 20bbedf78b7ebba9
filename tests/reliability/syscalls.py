"""The order in which saving writes, syncs and renames, observed by strace or, without it, by patches of `os`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Protocol
from unittest.mock import patch

from isolated import fork, wait

RIGHT = ["write", "fsync of the file", "rename", "fsync of the folder"]
ORDER = ("right order",)
CALLS = "write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat"


class Saves(Protocol):
    """Saves a number to `path`."""

    path: Path

    def save(self, number: int) -> None:
        """Save this number."""


def order_of_save(saved: Saves) -> Iterator[tuple[str, object]]:
    """Save once; yield whether it wrote, synced the file, renamed it and synced the folder, in this order."""
    saved.save(0)
    seen, how = _traced(saved), "by strace"
    if seen is None:
        seen, how = _patched(saved), "by patches of os"
    yield f"order seen {how}", ""
    yield ("right order" if seen == RIGHT else "wrong order"), seen


def _traced(saved: Saves) -> list[str] | None:
    """Return the calls of a save that strace reports; None if there is no strace, or it may not attach."""
    if shutil.which("strace") is None:
        return None
    log = saved.path.with_name("strace.txt")
    receiver, sender = os.pipe()

    def save() -> None:
        os.read(receiver, 1)
        saved.save(1)

    child = fork(save)
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-e", f"trace={CALLS}", "-o", str(log), "-p", str(child)], stderr=subprocess.DEVNULL
    )
    attached = False
    while not attached and tracer.poll() is None:
        attached = not re.search(r"TracerPid:\s+0\n", Path(f"/proc/{child}/status").read_text())
        time.sleep(1e-3)
    os.write(sender, b"1")
    wait(child)
    tracer.wait()
    os.close(receiver), os.close(sender)
    text = log.read_text() if attached else ""
    log.unlink(missing_ok=True)
    return _names(text, saved.path) if attached else None


def _names(text: str, path: Path) -> list[str]:
    """Return the calls on `path` in the output of strace, without immediate repetitions."""
    temporary = rf"{re.escape(str(path.parent))}/\.{re.escape(path.name)}\.[0-9a-f]+\.tmp"
    patterns = {
        "write": rf"p?write(64|v)?\(\d+<{temporary}>",
        "fsync of the file": rf"f(data)?sync\(\d+<{temporary}>",
        "rename": rf'rename.*"{temporary}".*"{re.escape(str(path))}"',
        "fsync of the folder": rf"fsync\(\d+<{re.escape(str(path.parent))}>",
        "unlink": rf"unlink.*{re.escape(path.name)}",
    }
    found = [name for line in text.splitlines() for name, pattern in patterns.items() if re.search(pattern, line)]
    return [name for name, _ in groupby(found)]


def _patched(saved: Saves) -> list[str]:
    """Return the calls of a save that patched functions of `os` report."""
    seen = []
    sync, replace = os.fsync, os.replace

    def see_sync(handle: int) -> None:
        folder = os.path.samestat(os.fstat(handle), saved.path.parent.stat())
        seen.extend(["fsync of the folder"] if folder else ["write"] * bool(os.fstat(handle).st_size) + ["fsync of the file"])
        sync(handle)

    def see_replace(old: str, new: str) -> None:
        seen.append("rename")
        replace(old, new)

    with patch("os.fsync", see_sync), patch("os.replace", see_replace):
        saved.save(1)
    return seen
