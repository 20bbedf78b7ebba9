"""Commands that the tests of this folder run in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--python")  # then another environment's Python


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Return what a command did, whatever its exit code; no path of the checkout's helps it find a module."""
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=own, capture_output=True, text=True, timeout=300)


def done(*command: object, cwd: Path) -> str:
    """Return what a command printed that must end well."""
    found = run(*command, cwd=cwd)
    assert found.returncode == 0, f"{found.stdout}\n{found.stderr}"
    return found.stdout
