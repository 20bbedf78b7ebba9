"""The source distribution and the wheel: what is in them, and that they say what pyproject.toml does."""

import hashlib
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from commands import ROOT, done, run
from packaging.requirements import Requirement

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FOLDERS = ("inceptionzoo", "tests", "docs", "examples")
TOP = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "mkdocs.yml", "pyproject.toml")
METADATA = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")


def sources(*folders: str) -> set[str]:
    """Return the files of these folders of the checkout, without what Python and its tools leave there."""
    found = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path.as_posix() for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts)}


def contents(wheel: Path) -> dict[str, str]:
    """Return the digest of each file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def unpacked(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


@pytest.fixture(scope="module")
def said(distributions) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def requirements(extra: str) -> set[Requirement]:
    """Return what pyproject.toml asks for with an extra, those that it names included."""
    found = set()
    for wanted in map(Requirement, PROJECT["optional-dependencies"][extra]):
        found |= set().union(*map(requirements, wanted.extras)) if wanted.name == PROJECT["name"] else {wanted}
    return found


def test_the_index_would_take_them(distributions):
    done(sys.executable, "-m", "twine", "check", "--strict", distributions.sdist, distributions.wheel, cwd=ROOT)


def test_twine_refuses_a_description_that_does_not_render(distributions, tmp_path):
    """The check above can fail."""
    bad = tmp_path / distributions.wheel.name
    with zipfile.ZipFile(distributions.wheel) as archive, zipfile.ZipFile(bad, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            copy.writestr(name, data.partition(b"\n\n")[0] + b"\n\n" if name.endswith("METADATA") else data)
    assert run(sys.executable, "-m", "twine", "check", "--strict", bad, cwd=tmp_path).returncode == 1


def test_a_wheel_holds_the_package_alone(distributions):
    metadata = f"{PROJECT['name']}-{distributions.wheel.name.split('-')[1]}.dist-info"
    assert set(contents(distributions.wheel)) == sources("inceptionzoo") | {f"{metadata}/{name}" for name in METADATA}
    assert "inceptionzoo/py.typed" in contents(distributions.wheel)
    assert distributions.wheel.name.endswith("-py3-none-any.whl")


def test_a_wheel_holds_the_licence_as_it_is(distributions):
    (found,) = [digest for name, digest in contents(distributions.wheel).items() if name.endswith("licenses/LICENSE")]
    assert found == hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()


def test_the_wheel_of_the_sources_is_the_wheel_of_the_checkout(distributions):
    assert contents(distributions.wheel) == contents(distributions.direct)


def test_metadata_says_what_pyproject_does(said):
    assert (said["Name"], said["Summary"], said["License-Expression"]) == (
        PROJECT["name"],
        PROJECT["description"],
        PROJECT["license"],
    )
    assert said["Requires-Python"] == PROJECT["requires-python"]
    assert said.get_all("License-File") == PROJECT["license-files"]
    assert sorted(said.get_all("Classifier")) == sorted(PROJECT["classifiers"])
    assert sorted(said["Keywords"].split(",")) == sorted(PROJECT["keywords"])
    assert said.get_payload(decode=True).decode() == (ROOT / "README.md").read_text("utf-8")


def test_metadata_asks_for_what_pyproject_does(said):
    found = list(map(Requirement, said.get_all("Requires-Dist")))
    assert {wanted for wanted in found if wanted.marker is None} == set(map(Requirement, PROJECT["dependencies"]))
    assert set(said.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    for extra in PROJECT["optional-dependencies"]:
        under = [wanted for wanted in found if wanted.marker is not None and wanted.marker.evaluate({"extra": extra})]
        for wanted in under:
            wanted.marker = None
        assert set(under) == requirements(extra)


def test_the_sources_are_whole(distributions, tmp_path):
    root = unpacked(distributions.sdist, tmp_path)
    held = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert held == sources(*FOLDERS) | set(TOP) | {".gitignore", "PKG-INFO"}


@pytest.mark.full
def test_the_sources_run_their_tests(distributions, tmp_path):
    root = unpacked(distributions.sdist, tmp_path)
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    where = done(sys.executable, "-c", "import inceptionzoo; print(inceptionzoo.__file__)", cwd=root)
    assert Path(where.strip()) == root / "inceptionzoo" / "__init__.py"
    done(*pytest_, "--collect-only", cwd=root)
    done(*pytest_, "tests/test_package.py", "tests/test_spec.py", "-k", "not example", cwd=root)
