"""Check that the distributions in a folder can be released: `python tests/packaging/release.py dist v0.2.0`.

The wheel is installed into a new environment with its dependencies, and used there. The version must be that of the tag, if one
is given, and have a dated section in the changelog that nothing unreleased precedes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
USE = """
import torch, inceptionzoo as iz
model = iz.create_model("googlenet", num_classes=2).eval()
iz.save_weights(model, "model.safetensors")
x = torch.rand(1, 3, 64, 64)
assert iz.load_model("model.safetensors")(x).equal(model(x))
print(iz.__version__)
"""


def problems(changelog: str, version: str, tag: str | None) -> list[str]:
    """Return what prevents the release of a version."""
    found = []
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, the version is {version}; the tag must be v{version}")
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if unreleased and unreleased[1].strip():
        found.append("the changelog has unreleased entries; move them to a section of the new version")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        found.append(f"the changelog has no dated section [{version}]")
    return found


def installed_version(wheel: Path) -> str:
    """Install a wheel into a new environment, use it there, and return its version."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wheel.resolve()], check=True)
        result = subprocess.run([python, "-c", USE], cwd=folder, check=True, capture_output=True, text=True)
        return result.stdout.strip()


def main(folder: str, tag: str | None = None) -> int:
    """Print the problems, and return their number."""
    (wheel,) = Path(folder).glob("*.whl")
    found = problems((ROOT / "CHANGELOG.md").read_text("utf-8"), installed_version(wheel), tag or None)
    print(*(f"not ready: {problem}" for problem in found), sep="\n")
    return len(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
