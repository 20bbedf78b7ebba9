"""The types in the wheel: mypy --strict on programs that use it, outside the checkout.

`make lint` checks the same programs against the checkout.
"""

import ast
import shutil
import sys

import pytest
from commands import ROOT, output, run

import inceptionzoo as iz

PROGRAMS = ROOT / "tests" / "typed"


@pytest.fixture
def mypy(python, tmp_path_factory):
    """The command that checks a program against the packages of `python`'s environment."""
    cache = tmp_path_factory.getbasetemp() / "mypy"
    return (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", cache, "--python-executable", python)


@pytest.mark.full
@pytest.mark.parametrize("program", ["user_program.py", "wrong_program.py"])
def test_programs_pass(mypy, tmp_path, program):
    shutil.copy(PROGRAMS / program, tmp_path)
    assert "Success: no issues found in 1 source file" in output(*mypy, program, cwd=tmp_path)


@pytest.mark.full
def test_wrong_lines_are_reported(mypy, tmp_path):
    """Without its `type: ignore` comments, the wrong program has an error in each line that had one, and in no other."""
    lines = (PROGRAMS / "wrong_program.py").read_text("utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "  # type: ignore[" in line}
    (tmp_path / "bare.py").write_text("\n".join(line.partition("  # type: ignore[")[0] for line in lines) + "\n")
    printed = run(*mypy, "bare.py", cwd=tmp_path).stdout
    assert {int(line.split(":")[1]) for line in printed.splitlines() if ": error: " in line} == marked
    assert len(marked) > 50


def test_the_program_uses_every_public_name():
    tree = ast.parse((PROGRAMS / "user_program.py").read_text("utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "iz"}
    assert set(iz.__all__) - used == set()
