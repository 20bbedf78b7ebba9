"""The package as a whole: what it exports, what imports what, what its pages claim."""

import ast
import re
import runpy
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import inceptionzoo as iz

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "inceptionzoo"

# each floor imports from the ones below it alone; architecture: data falls one way
FLOORS = [
    {"errors", "terminal"},
    {"spec"},
    {"network", "lean"},
    {"cost", "entry", "blocks", "checkpoint", "place", "report"},
    {"network_cost", "heads"},
    {"variants", "drawing"},
    {"backbone"},
    {"net"},
    {"build", "feature_net", "models", "weights", "evaluation"},
    {"registry", "train", "inference"},
    {"known", "subject"},
    {"restore", "summary", "draw"},
    {"pretrained", "ensemble"},
    {"factory", "predict"},
    {"publish", "interop"},
    {"bench"},
    {"cli"},
    {"__main__"},
]
INSIDE = {  # the same within a folder
    "weights": [
        {"atomic", "check", "layout", "card", "config", "patience"},
        {"safefile", "cache", "fetch"},
        {"hub", "pickles", "save"},
        {"source"},
        {"export", "load"},
    ],
    "evaluation": [{"ranks", "plots"}, {"batches", "scores", "result"}, {"evaluate"}],
    "train": [
        {"history", "recipe"},
        {"callbacks", "losses", "progress", "state"},
        {"asked", "step"},
        {"run"},
        {"setup"},
        {"fit"},
    ],
    "bench": [{"measure", "peers"}, {"jobs", "timings"}, {"memory"}, {"run"}],
    "inference": [
        {"buffers", "fold", "machine", "packed", "toom_cook"},
        {"passes", "writer"},
        {"windows"},
        {"tiles", "averages", "maxima", "player", "products"},
        {"winograd", "direct", "widened"},
        {"ways"},
        {"blocks"},
        {"program"},
        {"stages"},
        {"fuse"},
    ],
    "drawing": [{"text", "words"}, {"marks"}, {"svg", "block"}, {"rows"}, {"spine", "card"}, {"pack"}, {"page"}],
    "interop": [{"izoo"}, {"timm"}],
    "models": [{"googlenet", "bn_inception", "inception_v3", "inception_v4", "xception", "vgg"}, {"inception_resnet"}],
}


def room(path: Path) -> list[str]:
    return list(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path: Path) -> set[str]:
    """Return the dotted names, from the package's root, that a file imports from it."""
    here, found = room(path), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level], *(node.module.split(".") if node.module else [])]
            found |= {".".join(base)} if node.module else {".".join([*base, alias.name]) for alias in node.names}
    return found


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(room(path)))
def test_imports_fall_one_way(path):
    here = room(path)
    height = {name: level for level, floor in enumerate(FLOORS) for name in floor}
    inside = {name: level for level, floor in enumerate(INSIDE.get(here[0], [])) for name in floor}
    for name in imports(path):
        there = name.split(".")
        if there[0] != here[0]:
            assert height[there[0]] < height[here[0]], f"{here} imports {name}, which stands above or beside it"
        elif len(there) > 1:
            assert inside[there[1]] < inside[here[1]], f"{here} imports {name}, which stands above or beside it"


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
    before = dict(iz.registry.REGISTRY)
    names: dict[str, object] = {"__name__": page}
    try:
        for block in code_blocks(ROOT / page):
            exec(compile(block, page, "exec"), names)
    finally:
        iz.registry.REGISTRY.clear()
        iz.registry.REGISTRY.update(before)


def test_no_machine_stands_in_the_project():
    pages = [path for folder in ("docs", "examples", "tests", "inceptionzoo") for path in (ROOT / folder).rglob("*.*")]
    for path in [*pages, *ROOT.glob("*.md"), ROOT / "Makefile"]:
        if path.suffix in (".py", ".md", ".toml", ".yml", ""):
            assert not re.search(r"/(wor[k]|roo[t]|hom[e])/", path.read_text()), path
