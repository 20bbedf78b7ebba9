"""The package as a whole: its names, its layout, its dependencies and its pages."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import runpy
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import torch
from packaging.requirements import Requirement
from pages import blocks, wrong_outputs

import inceptionzoo as iz

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "inceptionzoo"
REFERENCE = (ROOT / "docs" / "reference.md").read_text()


def test_exported_names():
    public = {name for name in vars(iz) if not name.startswith("_")}
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert sorted(iz.__all__) == iz.__all__
    assert public - set(iz.__all__) <= modules
    assert set(iz.__all__) <= public
    undocumented = [name for name in iz.__all__ if name != "Layer" and not getattr(iz, name).__doc__]
    assert not undocumented


def test_dir_lists_the_public_names():
    assert [name for name in dir(iz) if not name.startswith("__")] == iz.__all__
    assert {"__version__", "__all__", "__doc__"} <= set(dir(iz))


def test_no_module_has_the_name_of_a_function_of_its_package():
    for face in [PACKAGE / "__init__.py", *PACKAGE.rglob("*/__init__.py")]:
        module = importlib.import_module(".".join(face.parent.relative_to(ROOT).parts))
        functions = {name for name in vars(module) if inspect.isroutine(getattr(module, name))}
        assert not functions & {path.stem for path in face.parent.iterdir()}, face


def test_a_module_is_private_or_in_the_reference():
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not any(part.startswith("_") for part in parts):
            name = ".".join(parts)
            assert f"::: {name}\n" in REFERENCE, name


def test_the_root_of_the_package_is_short():
    entries = {path.name for path in PACKAGE.iterdir()} - {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    assert len(entries) <= 13


def test_the_reference_has_every_public_name():
    entries = re.findall(r"^::: (\S+)$(?:\n    options: \{members: \[(.+?)\])?", REFERENCE, re.MULTILINE)
    paths = [path for path, _ in entries] + [f"{path}.{name}" for path, names in entries for name in names.split(", ") if name]
    documented = {id(pkgutil.resolve_name(path)) for path in paths}
    public = json.loads((ROOT / "tests" / "compatibility" / "public_names.json").read_text())
    for path in (f"{module}.{name}" for module, names in public.items() for name in names):
        assert id(pkgutil.resolve_name(path)) in documented, path


def imported_packages() -> set[str]:
    """Return the top-level names of what the package imports from others, anywhere in a file."""
    found: set[str] = set()
    for node in (node for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))):
        match node:
            case ast.Import():
                found |= {alias.name.partition(".")[0] for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


def test_every_dependency_is_imported_and_every_import_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    imported = {{"PIL": "pillow"}.get(name, name.replace("_", "-")) for name in imported_packages()}
    hard = {Requirement(line).name for line in project["dependencies"]}
    optional = {Requirement(line).name for extra in project["optional-dependencies"].values() for line in extra}
    assert hard <= imported
    assert imported <= hard | optional


def test_the_version_is_the_same_everywhere():
    assert iz.__version__ == version("inceptionzoo")
    newest = re.search(r"^## \[?([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == iz.__version__


def test_bounds_are_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirements in (project["dependencies"], *project["optional-dependencies"].values()):
        assert not [requirement for requirement in requirements if re.search(r"==|<|~=|@", requirement)]
    assert "torch>=2.10" in project["dependencies"]


TABLES = runpy.run_path(str(ROOT / "docs" / "tables.py"))


@pytest.mark.parametrize("page", TABLES["TABLES"])
def test_the_tables_are_current(page):
    """`make tables` does not change the page."""
    text = (ROOT / page).read_text()
    assert TABLES["updated"](page, text) == text
    for head, rows in TABLES["TABLES"][page]:
        assert text.partition(head)[2].startswith("\n".join(rows()))
        assert TABLES["updated"](page, text.replace(next(iter(rows())), "| stale |")) == text


def test_the_explorer_is_current():
    """`make tables` does not change the file."""
    explorer = runpy.run_path(str(ROOT / "docs" / "explorer_data.py"))
    assert explorer["FILE"].read_text() == explorer["explorer_data"]()


def test_the_home_page_shows_the_figures_of_the_benchmark():
    home, page = ((ROOT / "docs" / name).read_text() for name in ("index.md", "speed.md"))
    rows = page.replace("*", "").replace("`", "").splitlines()
    bars = re.findall(r"<span>(.*)</span><b style=\"--ms: (.*)\">(.*)</b>", home)
    assert len(bars) == 5
    for name, length, number in bars:
        candidate = re.sub("<.*?>", "", name).removeprefix("inceptionzoo, ")
        assert length == number
        assert [row for row in rows if row.startswith((f"| {candidate} | {number} |", f"| {candidate} | {number} ("))]
    (date,) = re.findall(r"two cores of an AMD EPYC \((.*)\):", home)
    assert f"An AMD EPYC with AVX-512, {date}, 61 rounds" in page


def test_every_page_is_in_the_navigation():
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))


PAGES = [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "embedding"]  # run by tests/integrations


def marked(page: str) -> object:
    """Return the page as a parameter, which only `make test-full` runs if it is slow."""
    return pytest.param(page, marks=pytest.mark.full if page == "docs/fid.md" else ())


@pytest.mark.usefixtures("register")  # restores the registry
@pytest.mark.filterwarnings(  # of torchvision, as lpips calls it
    "ignore:The parameter 'pretrained' is deprecated", "ignore:Arguments other than a weight enum"
)
@pytest.mark.parametrize("page", ["README.md", *(marked(str(path.relative_to(ROOT))) for path in sorted(PAGES))])
def test_every_example_of_the_pages_runs(page, tmp_path, monkeypatch):
    """The blocks of a page run in order, in an empty folder with two folders of images, and print what the page says."""
    from PIL import Image

    for split in ("train", "val"):
        for number, name in enumerate(("benign", "malignant")):
            for index in range(4):
                path = tmp_path / "moles" / split / name / f"{index}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40, 40), (90 * number + 10 * index, 60, 90)).save(path)
    monkeypatch.chdir(tmp_path)
    wrong = list(wrong_outputs((ROOT / page).read_text(), {"__name__": page}, page))
    assert not wrong


def test_the_published_weights_that_the_pages_name_exist():
    text = "".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))
    names = re.finditer(r"(?<=[`\"])(\w+)\.(\w+)(?=[`\"])", text)
    named = {match[0]: match[2] for match in names if match[1] in iz.list_models()}
    files = ("svg", "pth", "onnx", "safetensors")
    functions = {name for module in vars(iz.models).values() if isinstance(module, ModuleType) for name in vars(module)}
    tags = {name for name, end in named.items() if end not in files and end not in functions}
    assert len(tags) > 10
    assert tags <= set(iz.list_models(pretrained=True))


def page_of(code: str, text: str) -> str:
    return f"```python\n{code}\n```\n" + (f"\n```text\n{text}\n```\n" if text else "")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("print(torch.ones(2, 3).shape)  # (2, 3)", ""),
        ("print(['a', 0.8312])  # [\"a\", 0.83]", ""),
        ("print(2.1e-7)  # for example 1e-7", ""),
        ("print([1, 2, 3])  # [1, ...]", ""),
        ("with torch.no_grad():\n    print(1)  # 1\n    print(2)  # 2", ""),
        ("print(\n    1\n)  # 1", ""),
        ("print(1)\nprint(2)  # 2\nprint(3)", "1\n3"),
        ("x = 1  # no output", ""),
    ],
)
def test_a_right_output_passes(code, text):
    assert not list(wrong_outputs(page_of(code, text), {"torch": torch}))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("print(torch.ones(2, 3).shape)  # (2, 4)", ""),
        ("print(['a', 0.8512])  # ['a', 0.83]", ""),
        ("print(2.1e-7)  # 2.1e-6", ""),
        ("print([1, 2, 3])  # [2, ...]", ""),
        ("with torch.no_grad():\n    print(1)  # 1\n    print(2)  # 3", ""),
        ("print(\n    1\n)  # 2", ""),
        ("print(1)\nprint(2)  # 2\nprint(3)", "1\n2\n3"),
        ("print(12)  # 1", ""),
    ],
)
def test_a_wrong_output_fails(code, text):
    assert list(wrong_outputs(page_of(code, text), {"torch": torch}))


def test_a_text_block_belongs_to_the_python_block_directly_above():
    page = page_of("print(1)", "2")
    assert blocks(page.replace("\n\n", "\nWords.\n\n")) == [("print(1)\n", "")]
    assert list(wrong_outputs(page, {})) == ["page says '2', its code prints '1'"]


def test_no_file_names_a_path_of_one_machine():
    pages = [path for folder in ("docs", "examples", "tests", "tools", "inceptionzoo") for path in (ROOT / folder).rglob("*.*")]
    for path in [*pages, *ROOT.glob("*.md"), ROOT / "Makefile"]:
        if path.suffix in (".py", ".sh", ".md", ".toml", ".yml", ""):
            assert not re.search(r"/(wor[k]|roo[t]|hom[e])/", path.read_text()), path
