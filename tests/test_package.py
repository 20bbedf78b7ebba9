"""The package as a whole: what it exports, what imports what, what its pages claim."""

import re
import runpy
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import inceptionzoo as iz
from inceptionzoo.zoo._registry import REGISTRY

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "inceptionzoo"


def test_exported_names():
    public = {name for name in vars(iz) if not name.startswith("_")}
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert sorted(iz.__all__) == iz.__all__
    assert public - set(iz.__all__) <= modules
    assert set(iz.__all__) <= public
    undocumented = [name for name in iz.__all__ if name != "Layer" and not getattr(iz, name).__doc__]
    assert not undocumented


def test_the_version_is_one():
    assert iz.__version__ == version("inceptionzoo")
    newest = re.search(r"^## \[?([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == iz.__version__


def test_bounds_are_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in (project["dependencies"], *project["optional-dependencies"].values()):
        assert not [requirement for requirement in extra if re.search(r"==|<|~=|@", requirement)]
    assert "torch>=2.10" in project["dependencies"]


TABLES = runpy.run_path(str(ROOT / "docs" / "tables.py"))


@pytest.mark.parametrize("page", TABLES["TABLES"])
def test_the_tables_are_current(page):
    """`make tables` would write what stands there."""
    text = (ROOT / page).read_text()
    assert TABLES["updated"](page, text) == text
    for head, rows in TABLES["TABLES"][page]:
        assert text.partition(head)[2].startswith("\n".join(rows()))
        assert TABLES["updated"](page, text.replace(next(iter(rows())), "| stale |")) == text


def test_the_explorer_is_current():
    """`make tables` would write what stands there."""
    explorer = runpy.run_path(str(ROOT / "docs" / "explorer_data.py"))
    assert explorer["FILE"].read_text() == explorer["explorer_data"]()


def code_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


PAGES = [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "embedding"]  # tests/integrations runs those


@pytest.mark.parametrize("page", ["README.md", *sorted(str(path.relative_to(ROOT)) for path in PAGES)])
def test_every_example_of_the_pages_runs(page, tmp_path, monkeypatch):
    """The blocks of a page run one after the other, in a folder of their own that holds two folders of images."""
    from PIL import Image

    for split in ("train", "val"):
        for number, name in enumerate(("benign", "malignant")):
            for index in range(4):
                path = tmp_path / "moles" / split / name / f"{index}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40, 40), (90 * number + 10 * index, 60, 90)).save(path)
    monkeypatch.chdir(tmp_path)
    before = dict(REGISTRY)
    names: dict[str, object] = {"__name__": page}
    try:
        for block in code_blocks(ROOT / page):
            exec(compile(block, page, "exec"), names)
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)


def test_no_machine_stands_in_the_project():
    pages = [path for folder in ("docs", "examples", "tests", "inceptionzoo") for path in (ROOT / folder).rglob("*.*")]
    for path in [*pages, *ROOT.glob("*.md"), ROOT / "Makefile"]:
        if path.suffix in (".py", ".md", ".toml", ".yml", ""):
            assert not re.search(r"/(wor[k]|roo[t]|hom[e])/", path.read_text()), path
