"""The notebook of the examples is well formed and executed, and runs from top to bottom without Jupyter."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import WARNINGS

NOTEBOOK = Path(__file__).parents[1] / "examples" / "tutorial.ipynb"
RUN = """
import json, sys

names = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
print(names["result"].accuracy)
"""


def cells(kind):
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def test_it_is_well_formed():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z-]{1,64}", id_) for id_ in ids)
    assert {cell["cell_type"] for cell in notebook["cells"]} == {"code", "markdown"}
    assert all(cell["metadata"] == {} for cell in notebook["cells"])


def test_it_was_executed_from_top_to_bottom():
    assert [cell["execution_count"] for cell in cells("code")] == [*range(1, len(cells("code")) + 1)]
    outputs = [output for cell in cells("code") for output in cell["outputs"]]
    assert all(cell["outputs"] for cell in cells("code"))
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}  # no warning
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/svg+xml") == 1
    assert kinds.count("image/png") == 3


def test_it_is_small_and_has_no_path_of_one_machine():
    text = NOTEBOOK.read_text()
    assert len(text) < 400_000
    assert not re.search(r"/(tm[p]|wor[k]|roo[t]|hom[e]|usr)/", text)


@pytest.mark.full
def test_it_runs(tmp_path):
    """It writes only into the temporary folder."""
    current, temporary = tmp_path / "current", tmp_path / "temporary"
    for folder in (current, temporary):
        folder.mkdir()
    command = [sys.executable, "-W", WARNINGS, "-c", RUN, NOTEBOOK]
    process = subprocess.run(command, cwd=current, env=os.environ | {"TMPDIR": str(temporary)}, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert float(process.stdout.split()[-1]) > 0.9  # accuracy on the held-out images
    assert not list(current.iterdir())
    assert list(temporary.rglob("three-or-eight/README.md"))
