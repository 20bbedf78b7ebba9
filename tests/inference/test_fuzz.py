"""Random networks, fused, agree with the unfused ones in float64, and their kernels stay inside their memory."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=1800)


@pytest.mark.parametrize(
    ("count", "seeds"),
    [(200, {0: "8", 200: "16"}), pytest.param(800, {400: "8", 1200: "16"}, marks=pytest.mark.full)],
    ids=["few", "many"],
)
def test_random_networks(count, seeds):
    """The kernels of both vector widths run on every processor: LLVM splits the vectors that it does not have.

    `count` is the number of networks of each process, `seeds` the vector width by the number of the first network.
    """
    with ThreadPoolExecutor(2) as pool:
        commands = [("fuzz.py", "--seed", str(first), "--count", str(count), "--width", seeds[first]) for first in seeds]
        results = list(pool.map(lambda command: run(*command), commands))
    for result in results:
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
        assert result.stdout.splitlines()[-1] == f"{count} networks, 0 with faults"


@pytest.mark.parametrize("width", ["8", "16"])
def test_random_operations_of_training(width):
    result = run("fuzz_training.py", "--count", "100", "--width", width)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    assert result.stdout.splitlines()[-1] == "100 operations, 0 with faults"


ONE_FLOAT = """
import ctypes, sys
sys.path.insert(0, "..")
import guarded
guard = guarded.Guard()
guard.at_end = {at_end}
x = guard.floats(1025)
x[0], x[-1] = 1, 2
assert x.data_ptr() % 4 == 0
print(ctypes.c_float.from_address(x.data_ptr()).value, ctypes.c_float.from_address(x.data_ptr() + 4096).value, flush=True)
ctypes.c_float.from_address(x.data_ptr() + 4 * {index}).value
"""


@pytest.mark.parametrize(("at_end", "index"), [(True, 1025), (False, -1)])
def test_a_float_beyond_guarded_memory_ends_the_process(at_end, index):
    result = run("-c", ONE_FLOAT.format(at_end=at_end, index=index))
    assert result.stdout == "1.0 2.0\n"
    assert result.returncode == -signal.SIGSEGV


BROKEN_PITCH = """
import sys
from inceptionzoo.kernels import _buffers
_buffers.row_strides.__code__ = (lambda x: x.stride() if x.stride(1) == 1 else None).__code__
import fuzz
sys.exit(bool(fuzz.main(0, 60, None)))
"""


def test_wrong_strides_are_found():
    """Strides of sides of length one that are taken as they are give wrong numbers or end the process."""
    result = run("-c", BROKEN_PITCH)
    assert "fault" in result.stdout or result.returncode == -signal.SIGSEGV, result.stdout + result.stderr
