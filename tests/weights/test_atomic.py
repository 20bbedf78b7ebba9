"""A file is written completely or not at all: after exceptions, a full disk, and SIGKILL."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import inceptionzoo as iz
from inceptionzoo.weights._atomic import atomic_write
from inceptionzoo.weights._safetensors import read_safetensors

SAVE = """
import json, os, random, resource, signal, sys, time
from pathlib import Path
import torch
from inceptionzoo.weights._safetensors import MARKER, read_safetensors, write_safetensors
torch.set_num_threads(1)  # a forked child has only one
folder = Path(sys.argv[1])
path = folder / "model.safetensors"
save = lambda number, size=300_000: write_safetensors(path, {"w": torch.full((size,), float(number))}, {MARKER: str(number)})
"""
UMASK = """
os.umask(0o027)
save(0)
print(json.dumps(oct(path.stat().st_mode & 0o777)))
"""
LIMIT = """
save(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
try:
    save(1)
except OSError as error:
    print(json.dumps([str(error), path.stat().st_size, os.listdir(folder)]))
"""
KILL = """
start = time.perf_counter()
save(0)
once, seen, left = time.perf_counter() - start, set(), 0
random.seed(0)
for turn in range(20):
    child = os.fork()
    if not child:
        for number in range(1_000_000):
            save(100 * turn + number)
    time.sleep(random.uniform(0, 5 * once))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    tensors, metadata = read_safetensors(path)
    assert tensors["w"].equal(torch.full((300_000,), float(metadata[MARKER])))
    seen.add(metadata[MARKER])
    left += len(set(os.listdir(folder)) - {path.name})
save(0)
print(json.dumps([len(seen), left, os.listdir(folder)]))
"""


def run(script: str, folder: Path) -> object:
    """Run the script in a new process; return what it prints as JSON."""
    done = subprocess.run([sys.executable, "-c", SAVE + script, folder], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_and_raise(path: Path, error: type[BaseException]) -> None:
    with atomic_write(path) as stream:
        stream.write(b"new" * 100_000)
        raise error


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error, old):
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error):
        write_and_raise(path, error)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == ({} if old is None else {"a.bin": old})


def test_a_failing_rename_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, tiny):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")

    def fail(source: object, target: object) -> None:
        raise PermissionError(errno.EPERM, "no", source, None, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PermissionError, match=r"no: '.*/a\.safetensors'$"):
        iz.save_weights(tiny, path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.safetensors": b"old"}


def test_a_missing_folder_and_a_folder_of_the_same_name_are_os_errors(tmp_path, tiny):
    with pytest.raises(FileNotFoundError):
        iz.save_weights(tiny, tmp_path / "none" / "a.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(IsADirectoryError, match=r"this is a folder; pass the path of a file: '.*/folder.safetensors'$"):
        iz.save_weights(tiny, tmp_path / "folder.safetensors")
    assert [file.name for file in tmp_path.rglob("*")] == ["folder.safetensors"]


def test_a_symlink_stays_a_symlink(tmp_path, tiny):
    real, link, dangling = tmp_path / "there" / "real", tmp_path / "link.safetensors", tmp_path / "dangling.safetensors"
    real.parent.mkdir()
    real.write_bytes(b"old")
    link.symlink_to(Path("there") / "real")
    dangling.symlink_to(real.parent / "later")
    for name in (link, dangling):
        iz.save_weights(tiny, name)
        assert name.is_symlink()
    assert real.read_bytes() == (real.parent / "later").read_bytes() == link.read_bytes()
    assert sorted(file.name for file in real.parent.iterdir()) == ["later", "real"]
    assert read_safetensors(link)[0].keys() == tiny.state_dict().keys()


def test_order_is_write_sync_rename_sync_of_the_folder(tmp_path, monkeypatch, tiny):
    path, calls = tmp_path / "a.safetensors", []
    sync, replace = os.fsync, os.replace
    iz.save_weights(tiny, path)
    whole = path.read_bytes()
    path.write_bytes(b"old")

    def see_sync(handle: int) -> None:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        content = path.read_bytes() if folder else Path(f"/proc/self/fd/{handle}").read_bytes()
        calls.append(("sync", "folder" if folder else "file", content == whole))
        assert not folder or os.path.samestat(os.fstat(handle), tmp_path.stat())
        sync(handle)

    def see_replace(source: Path, target: Path) -> None:
        calls.append(("replace", Path(source).parent == tmp_path, Path(target), path.read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", see_sync)
    monkeypatch.setattr(os, "replace", see_replace)
    iz.save_weights(tiny, path)
    assert calls == [("sync", "file", True), ("replace", True, path, b"old"), ("sync", "folder", True)]


def test_the_mode_follows_the_umask(tmp_path):
    assert run(UMASK, tmp_path) == "0o640"


def test_a_full_disk_keeps_the_old_file(tmp_path):
    error, size, names = run(LIMIT, tmp_path)
    assert (error, names) == (f"[Errno {errno.EFBIG}] File too large: '{tmp_path}/model.safetensors'", ["model.safetensors"])
    tensors, _ = read_safetensors(tmp_path / "model.safetensors")
    assert size == (tmp_path / "model.safetensors").stat().st_size > 1_200_000
    assert tensors["w"].equal(torch.zeros(300_000))


def test_after_a_kill_while_saving_the_file_is_complete(tmp_path):
    finished, interrupted, names = run(KILL, tmp_path)
    assert finished > 1
    assert interrupted > 0  # some were killed during a write
    assert names == ["model.safetensors"]  # the next writer has removed their temporary files


def test_the_temporary_file_of_a_running_writer_stays(tmp_path, tiny):
    path = tmp_path / "a*[1].bin"
    with atomic_write(path) as stream:
        stream.write(b"first")
        with atomic_write(path) as other:
            other.write(b"second")
        assert path.read_bytes() == b"second"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {path.name: b"first"}


def test_on_a_file_system_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    orphan = tmp_path / ".a.bin.0123abcd.tmp"
    orphan.write_bytes(b"?")

    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with atomic_write(tmp_path / "a.bin") as stream:
        stream.write(b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.bin": b"new", orphan.name: b"?"}


def test_only_orphans_of_this_path_are_removed(tmp_path):
    orphans = [tmp_path / name for name in (".a.bin.0123abcd.tmp", ".ab.bin.0123abcd.tmp", ".a.bin.tmp", ".a.bin.zz.tmp")]
    for orphan in orphans:
        orphan.write_bytes(b"?")
    with atomic_write(tmp_path / "a.bin") as stream:
        stream.write(b"new")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["a.bin", *(file.name for file in orphans[1:])])
