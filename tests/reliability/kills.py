"""Saving that is killed, or has no room: the old file or the new one, whole, and nothing beside it."""

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

ZERO = ("old file lost", "mixed file", "finished save lost", "left beside the file after the next save")
ZERO += (
    "other error than OSError",
    "left beside the file after an error",
    "saved where there is no room",
    "wrong mode",
    "wrong order",
)
Found = Iterator[tuple[str, object]]


def thick_network() -> iz.Network:
    """Return a network of few tensors and two megabytes, so that saving it is mostly writing."""
    return iz.network(one=iz.Conv(240, 3), two=iz.Conv(240, 3))


class Shelf:
    """A model whose every value is one number, and the file where it is saved."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model, self.reader = iz.create_model("thick"), iz.create_model("thick")

    def save(self, number: int) -> None:
        """Save the model with this number in every value."""
        with torch.no_grad():
            for tensor in self.model.state_dict().values():
                tensor.fill_(number)
        iz.save_weights(self.model, self.path)

    def load(self) -> tuple[str, int]:
        """Return what is wrong with the file ("" for nothing), and the number in it."""
        try:
            iz.load_weights(self.reader, self.path)
        except (iz.ZooError, OSError) as error:
            return f"old file lost: {error}", -1
        values = [torch.aminmax(tensor) for tensor in self.reader.state_dict().values()]
        numbers = {int(value) for pair in values for value in pair}
        return ("" if len(numbers) == 1 else "mixed file"), min(numbers)

    def beside(self) -> list[str]:
        """Return the names of the other files in its folder."""
        return sorted(set(os.listdir(self.path.parent)) - {self.path.name, "ballast"})


@contextmanager
def shelf() -> Iterator[Shelf]:
    """Return a shelf on the disk, for as long as the block lasts."""
    with registered("thick", thick_network(), num_classes=2), tempfile.TemporaryDirectory() as folder:
        yield Shelf(Path(os.path.realpath(folder)) / "w.safetensors")


def killed_saves(kills: int, seed: int = 0) -> Figure:
    """Return what became of files whose writers were killed, or had no room (item 3 of the figures)."""
    figure = Figure("killed saves", (*ERRORS, *ZERO))
    figure.reached = ("killed inside the write", "killed between writes", "file too large", *ORDER, "modes by umask")
    pick = Random(seed)
    with shelf() as place:
        start = time.perf_counter()
        for number in range(3):
            place.save(number)
        once = (time.perf_counter() - start) / 3
        for _ in range(kills):
            for key, example in _kill(place, pick.uniform(0, 3 * once)):
                figure.add(key, example)
        isolated(figure, lambda _: _too_large(place, pick), 1)
        isolated(figure, lambda _: _full_disk(place, pick), 1)
        isolated(figure, lambda _: _modes(place), 1)
        for key, example in order_of_save(place):
            figure.add(key, example)
    return figure


def _kill(place: Shelf, after: float) -> Found:
    """Kill a process that saves without end, and see what it leaves."""
    last = place.load()[1]
    finished = memoryview(mmap.mmap(-1, 8)).cast("q")
    finished[0] = last

    def save_on() -> None:
        for number in range(last + 1, last + 10**6):
            place.save(number)
            finished[0] = number

    child = fork(save_on)
    while finished[0] == last:
        time.sleep(1e-4)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    wait(child)
    yield ("killed inside the write" if place.beside() else "killed between writes"), ""
    wrong, number = place.load()
    if wrong:
        yield wrong.split(":")[0], wrong
    elif number not in (finished[0], finished[0] + 1):
        yield "finished save lost", f"{number} in the file, {finished[0]} was saved"
    place.save((number + 1) % 10**6)
    if left := place.beside():
        yield "left beside the file after the next save", left
    yield "kills", ""


def _refused(place: Shelf, number: int, name: str, code: int) -> Found:
    """Save where there is no room; yield what is found, under `name` where all is right."""
    try:
        place.save(number + 1)
        yield "saved where there is no room", name
        return
    except OSError as error:
        yield (name if error.errno == code else "other error than OSError"), error
    except BaseException as error:
        yield "other error than OSError", f"{name}: {error!r}"
    wrong, found = place.load()
    if wrong or found != number:
        yield "old file lost", f"{name}: {wrong or found}"
    if left := place.beside():
        yield "left beside the file after an error", f"{name}: {left}"


def _too_large(place: Shelf, pick: Random, cases: int = 20) -> Found:
    """Save with a limit on the size of files, inside the header, inside the tensors, one byte short."""
    place.save(0)
    size, old = place.path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    for number in range(cases):
        limit = pick.choice((0, 7, 100, size - 1, pick.randrange(size)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
        found = list(_refused(place, number, "file too large", errno.EFBIG))
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        yield from found
        place.save(number + 1)


def _full_disk(place: Shelf, pick: Random, cases: int = 20) -> Found:
    """Save on a disk that is too full, where a small one can be mounted."""
    place.save(0)
    size = place.path.stat().st_size
    if not _mounted(place.path.parent, 3 * size):
        yield "tmpfs not mountable", ""
        return
    place.save(0)
    ballast = place.path.parent / "ballast"
    for number in range(cases):
        disk = os.statvfs(place.path.parent)
        ballast.write_bytes(bytes(disk.f_bavail * disk.f_bsize - pick.choice((0, 4096, pick.randrange(size - 4096)))))
        yield from _refused(place, number, "disk full", errno.ENOSPC)
        ballast.unlink()
        place.save(number + 1)


def _mounted(folder: Path, size: int) -> bool:
    """Mount a disk in memory that this process alone sees; return whether the system allows it."""
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


def _modes(place: Shelf) -> Found:
    """Save under several umasks, where a file is and where none is."""
    for mask in (0o000, 0o022, 0o027, 0o077, 0o002):
        os.umask(mask)
        for old in (False, True):
            if not old:
                place.path.unlink()
            place.save(1)
            mode = place.path.stat().st_mode & 0o777
            yield ("modes by umask" if mode == 0o666 & ~mask else "wrong mode"), f"{mode:o} for {mask:o}"
