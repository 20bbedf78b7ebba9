"""Saving that is killed or finds a full disk: the old or the new file is complete, and no temporary file stays."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import torch
from figure import Figure
from isolated import ERRORS, fork, isolated, wait
from small import registered
from syscalls import ORDER, order_of_save

import inceptionzoo as iz

ZERO = ("old file lost", "mixed file", "finished save lost", "temporary file left after the next save")
ZERO += (
    "error other than OSError",
    "temporary file left after an error",
    "saved although there is no room",
    "wrong mode",
    "wrong order",
)
Found = Iterator[tuple[str, object]]


def thick_network() -> iz.Network:
    """Return a network with few tensors and two megabytes, so that saving it is mostly writing."""
    return iz.network(one=iz.Conv(240, 3), two=iz.Conv(240, 3))


class SavedModel:
    """A model in which every value is the same number, and the file to which it is saved."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model, self.reader = iz.create_model("thick"), iz.create_model("thick")

    def save(self, number: int) -> None:
        """Set every value to this number and save the model."""
        with torch.no_grad():
            for tensor in self.model.state_dict().values():
                tensor.fill_(number)
        iz.save_weights(self.model, self.path)

    def load(self) -> tuple[str, int]:
        """Return the fault of the file ("" if there is none), and the number in it."""
        try:
            iz.load_weights(self.reader, self.path)
        except (iz.ZooError, OSError) as error:
            return f"old file lost: {error}", -1
        values = [torch.aminmax(tensor) for tensor in self.reader.state_dict().values()]
        numbers = {int(value) for pair in values for value in pair}
        return ("" if len(numbers) == 1 else "mixed file"), min(numbers)

    def leftovers(self) -> list[str]:
        """Return the names of the other files in its folder."""
        return sorted(set(os.listdir(self.path.parent)) - {self.path.name, "ballast"})


@contextmanager
def saved_model() -> Iterator[SavedModel]:
    """Yield a saved model on the disk."""
    with registered("thick", thick_network(), num_classes=2), tempfile.TemporaryDirectory() as folder:
        yield SavedModel(Path(os.path.realpath(folder)) / "w.safetensors")


def killed_saves(kills: int, seed: int = 0) -> Figure:
    """Kill processes that save, and let others run out of disk space (figure 3)."""
    figure = Figure("killed saves", (*ERRORS, *ZERO))
    figure.reached = ("killed inside the write", "killed between writes", "file too large", *ORDER, "right mode")
    pick = Random(seed)
    with saved_model() as saved:
        start = time.perf_counter()
        for number in range(3):
            saved.save(number)
        once = (time.perf_counter() - start) / 3
        for _ in range(kills):
            for key, example in _kill(saved, pick.uniform(0, 3 * once)):
                figure.add(key, example)
        isolated(figure, lambda _: _too_large(saved, pick), 1)
        isolated(figure, lambda _: _full_disk(saved, pick), 1)
        isolated(figure, lambda _: _modes(saved), 1)
        for key, example in order_of_save(saved):
            figure.add(key, example)
    return figure


def _kill(saved: SavedModel, after: float) -> Found:
    """Kill a process that saves in a loop; yield what it leaves."""
    last = saved.load()[1]
    finished = memoryview(mmap.mmap(-1, 8)).cast("q")
    finished[0] = last

    def save_on() -> None:
        for number in range(last + 1, last + 10**6):
            saved.save(number)
            finished[0] = number

    child = fork(save_on)
    while finished[0] == last:
        time.sleep(1e-4)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    wait(child)
    yield ("killed inside the write" if saved.leftovers() else "killed between writes"), ""
    wrong, number = saved.load()
    if wrong:
        yield wrong.split(":")[0], wrong
    elif number not in (finished[0], finished[0] + 1):
        yield "finished save lost", f"{number} in the file, {finished[0]} was saved"
    saved.save((number + 1) % 10**6)
    if left := saved.leftovers():
        yield "temporary file left after the next save", left
    yield "kills", ""


def _refused(saved: SavedModel, number: int, name: str, code: int) -> Found:
    """Save without enough room; yield `name` if the right error is raised, and each thing that must not happen."""
    try:
        saved.save(number + 1)
        yield "saved although there is no room", name
        return
    except OSError as error:
        yield (name if error.errno == code else "error other than OSError"), error
    except BaseException as error:
        yield "error other than OSError", f"{name}: {error!r}"
    wrong, found = saved.load()
    if wrong or found != number:
        yield "old file lost", f"{name}: {wrong or found}"
    if left := saved.leftovers():
        yield "temporary file left after an error", f"{name}: {left}"


def _too_large(saved: SavedModel, pick: Random, cases: int = 20) -> Found:
    """Save with a limit on the size of files: in the header, in the tensors, one byte less than needed."""
    saved.save(0)
    size, old = saved.path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    for number in range(cases):
        limit = pick.choice((0, 7, 100, size - 1, pick.randrange(size)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
        found = list(_refused(saved, number, "file too large", errno.EFBIG))
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        yield from found
        saved.save(number + 1)


def _full_disk(saved: SavedModel, pick: Random, cases: int = 20) -> Found:
    """Save on a disk that is too full, if the system allows this process to mount a small one."""
    saved.save(0)
    size = saved.path.stat().st_size
    if not _mounted(saved.path.parent, 3 * size):
        yield "tmpfs not mountable", ""
        return
    saved.save(0)
    ballast = saved.path.parent / "ballast"
    for number in range(cases):
        disk = os.statvfs(saved.path.parent)
        ballast.write_bytes(bytes(disk.f_bavail * disk.f_bsize - pick.choice((0, 4096, pick.randrange(size - 4096)))))
        yield from _refused(saved, number, "disk full", errno.ENOSPC)
        ballast.unlink()
        saved.save(number + 1)


def _mounted(folder: Path, size: int) -> bool:
    """Mount a memory file system that only this process sees; return whether the system allows it."""
    maps = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10020000):  # CLONE_NEWUSER | CLONE_NEWNS
        return False
    try:
        for name, text in maps.items():
            Path(f"/proc/self/{name}").write_text(text)
    except OSError:
        return False
    return not libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode())


def _modes(saved: SavedModel) -> Found:
    """Save under several umasks, with and without an old file."""
    for mask in (0o000, 0o022, 0o027, 0o077, 0o002):
        os.umask(mask)
        for old in (False, True):
            if not old:
                saved.path.unlink()
            saved.save(1)
            mode = saved.path.stat().st_mode & 0o777
            yield ("right mode" if mode == 0o666 & ~mask else "wrong mode"), f"{mode:o} for {mask:o}"
