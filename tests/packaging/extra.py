"""Print the requirements of an extra of pyproject.toml, one a line: `python extra.py EXTRA`."""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    print(*project["optional-dependencies"][sys.argv[1]], sep="\n")
