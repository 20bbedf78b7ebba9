"""Print pip constraints, `name==version`, for the lowest versions that pyproject.toml allows."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
EXTRAS = ("fast", "keras", "examples", "completion")  # of the extras only those for users; the others serve the tests


def lowest(path: Path = PYPROJECT) -> list[str]:
    """Return one constraint per requirement."""
    project = tomllib.loads(path.read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    return [f"{line.name}=={bound.version}" for line in map(Requirement, lines) for bound in line.specifier]


if __name__ == "__main__":
    print("\n".join(lowest()))
