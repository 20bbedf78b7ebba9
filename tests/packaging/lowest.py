"""Print pip's constraints for the lowest versions that pyproject.toml admits, of what a user installs: `name==bound`."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
EXTRAS = ("fast", "examples")  # the others are tools of the tests, what these compare with, and partners


def lowest(path: Path = PYPROJECT) -> list[str]:
    """Return a constraint for each requirement."""
    project = tomllib.loads(path.read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    return [f"{wanted.name}=={bound.version}" for wanted in map(Requirement, lines) for bound in wanted.specifier]


if __name__ == "__main__":
    print("\n".join(lowest()))
