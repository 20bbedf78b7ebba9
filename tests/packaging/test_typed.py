"""The types that a user of the wheel sees: mypy --strict on programs that use it, far from the checkout.

`make lint` checks the same programs against the checkout on every change.
"""

import ast
import shutil
import sys

import pytest
from commands import ROOT, done, run

import inceptionzoo as iz

PROGRAMS = ROOT / "tests" / "typed"


@pytest.fixture
def mypy(python, tmp_path_factory):
    """The command for programs that import what is installed beside `python`."""
    cache = tmp_path_factory.getbasetemp() / "mypy"
    return (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", cache, "--python-executable", python)


@pytest.mark.full
@pytest.mark.parametrize("program", ["user_program.py", "wrong_program.py"])
def test_a_program_checks(mypy, tmp_path, program):
    shutil.copy(PROGRAMS / program, tmp_path)
    assert "Success: no issues found in 1 source file" in done(*mypy, program, cwd=tmp_path)


@pytest.mark.full
def test_what_is_wrong_is_seen(mypy, tmp_path):
    """Without its comments, the wrong program has an error in each marked line, and in no other."""
    lines = (PROGRAMS / "wrong_program.py").read_text("utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "  # type: ignore[" in line}
    (tmp_path / "bare.py").write_text("\n".join(line.partition("  # type: ignore[")[0] for line in lines) + "\n")
    said = run(*mypy, "bare.py", cwd=tmp_path).stdout
    assert {int(line.split(":")[1]) for line in said.splitlines() if ": error: " in line} == marked
    assert len(marked) > 50


def test_the_program_uses_every_name():
    tree = ast.parse((PROGRAMS / "user_program.py").read_text("utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "iz"}
    assert set(iz.__all__) - used == set()
