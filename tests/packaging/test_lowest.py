"""The constraints that `make test-lowest` installs with."""

import tomllib

from commands import ROOT
from lowest import EXTRAS, lowest
from packaging.requirements import Requirement


def test_every_requirement_has_one_lower_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    for requirement in map(Requirement, lines):
        assert [bound.operator for bound in requirement.specifier] == [">="], requirement
    assert [line.replace("==", ">=") for line in lowest()] == lines


def test_constraints_of_a_file(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\ndependencies = ["torch>=2.10", "x[y]>=1"]\n[project.optional-dependencies]\n'
        'fast = ["a>=0.46"]\nkeras = []\nexamples = []\ncompletion = ["d>=5"]\nintegrations = ["b>=3"]\ndev = ["c>=4"]\n'
    )
    assert lowest(path) == ["torch==2.10", "x==1", "a==0.46", "d==5"]
