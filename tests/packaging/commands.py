"""Run commands in subprocesses, for the tests of this folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--python")  # followed by the Python of another environment


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Return the finished process of a command. It cannot import from the checkout, and may fail."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def output(*command: object, cwd: Path) -> str:
    """Return what a command printed; fail if its exit status is not 0."""
    process = run(*command, cwd=cwd)
    assert process.returncode == 0, f"{process.stdout}\n{process.stderr}"
    return process.stdout
