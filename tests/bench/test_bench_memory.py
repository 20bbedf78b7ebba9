"""Peak memory, measured in a subprocess."""

import subprocess
import sys
from pathlib import Path

from inceptionzoo.bench import memory


def test_peak():
    """The test runs in a subprocess, where nothing else frees memory meanwhile."""
    code = "from inceptionzoo.bench.memory import peak; print(*(peak(lambda: len(b'1' * (n << 20))) for n in (1, 64, 256)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    small, medium, large = map(float, output)
    assert small < 16
    assert 48 < medium < 80
    assert 240 < large < 272


def test_a_larger_batch_needs_more_memory():
    small, large = (
        memory.measure_in_subprocess(
            model="vgg11_bn_cifar", runner="inceptionzoo", threads=1, with_peers=False, shape=[count, 3, 32, 32]
        )
        for count in (2, 64)
    )
    assert small + 5 < large


def test_systems_without_clear_refs(monkeypatch):
    monkeypatch.setattr(memory, "CLEAR_REFS", Path("/no/such/file"))
    assert memory.measure_in_subprocess(model="vgg11_bn_cifar", runner="inceptionzoo", threads=1, with_peers=False) is None
