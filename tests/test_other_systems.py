"""The library without what only Linux has: flock, fork, /proc and torch's GNU OpenMP."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from inceptionzoo.weights import _atomic

HIDE = """
import asyncio, builtins, ctypes, io, os, sys  # asyncio: its part for Unix calls os.sysconf

for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None  # its import raises ModuleNotFoundError
for name in ("fork", "forkpty", "getloadavg", "sched_getaffinity", "sysconf"):
    delattr(os, name)

def hiding(call, part):
    def hidden(path, *arguments, **options):
        if part in str(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return call(path, *arguments, **options)
    return hidden

builtins.open = io.open = hiding(io.open, "/proc/")
os.stat = hiding(os.stat, "/proc/")
"""

USE = """
from unittest import mock

import torch
from PIL import Image

import inceptionzoo as iz
from inceptionzoo.bench import _machine, memory
from inceptionzoo.cli import main
from inceptionzoo.kernels import _capabilities

with mock.patch.object(ctypes, "CDLL", hiding(ctypes.CDLL, "libtorch_cpu")):
    assert not _capabilities.has_jit()
torch.manual_seed(0)
model = iz.create_model("googlenet_cifar", num_classes=2)
images, targets = torch.randn(4, 3, 32, 32), torch.arange(4) % 2
iz.fit(model, [(images, targets)], epochs=1, out="run", progress=False)
iz.fit(model, [(images, targets)], epochs=1, out="run", progress=False, resume=False)
best = iz.load_model("run/best.safetensors")
with torch.inference_mode():
    torch.testing.assert_close(iz.fuse(best)(images), best(images), rtol=1e-3, atol=1e-4)
Image.new("RGB", (40, 40)).save("image.png")
assert len(iz.predict(best, "image.png")) == 2
assert _machine.background_load() == float("inf")
assert _machine.describe_machine(torch.device("cpu"), 0.0).threads
assert memory.measure_in_subprocess() is None
assert main(["info", "run/best.safetensors"]) == 0
print("used")
"""


def test_without_what_only_linux_has(tmp_path):
    result = subprocess.run([sys.executable, "-c", HIDE + USE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("used\n")


def test_files_are_written_as_windows_needs_it(tmp_path, monkeypatch):
    """A file is renamed after it is closed, no folder is opened, and what a killed writer left is removed."""
    opened, streams = [], []

    def open_file(path, *arguments):
        opened.append(path)
        return os.open(path, *arguments)

    def replace(source, target):
        assert streams[-1].closed
        os.replace(source, target)

    windows = {**vars(os), "name": "nt", "open": open_file, "replace": replace}
    monkeypatch.setattr(_atomic, "os", SimpleNamespace(**windows))
    monkeypatch.setitem(sys.modules, "fcntl", None)
    (tmp_path / ".a.bin.0123abcd.tmp").write_bytes(b"?")
    with _atomic.atomic_write(tmp_path / "a.bin") as stream:
        streams.append(stream)
        stream.write(b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.bin": b"new"}
    assert tmp_path not in opened
    with pytest.raises(ValueError, match="stop"), _atomic.atomic_write(tmp_path / "a.bin"):
        raise ValueError("stop")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.bin": b"new"}
