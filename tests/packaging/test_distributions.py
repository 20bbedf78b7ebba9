"""The contents and the metadata of the source distribution and the wheel."""

import hashlib
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from commands import ROOT, output, run
from packaging.requirements import Requirement

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FOLDERS = ("inceptionzoo", "tests", "docs", "examples", "tools")
TOP = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "mkdocs.yml", "pyproject.toml")
METADATA = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")


def sources(*folders: str) -> set[str]:
    """Return the files in folders of the checkout, without hidden files and caches."""
    paths = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path.as_posix() for path in paths if not any(part.startswith((".", "__pycache__")) for part in path.parts)}


def contents(wheel: Path) -> dict[str, str]:
    """Return the digest of each file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


@pytest.fixture(scope="module")
def metadata(distributions) -> Message:
    """The METADATA file of the wheel."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def requirements(extra: str) -> set[Requirement]:
    """Return the requirements of an extra, including those of the extras that it names."""
    found = set()
    for line in map(Requirement, PROJECT["optional-dependencies"][extra]):
        found |= set().union(*map(requirements, line.extras)) if line.name == PROJECT["name"] else {line}
    return found


def test_twine_accepts_them(distributions):
    output(sys.executable, "-m", "twine", "check", "--strict", distributions.sdist, distributions.wheel, cwd=ROOT)


def test_twine_refuses_a_missing_description(distributions, tmp_path):
    """The test above can fail."""
    bad = tmp_path / distributions.wheel.name
    with zipfile.ZipFile(distributions.wheel) as archive, zipfile.ZipFile(bad, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            copy.writestr(name, data.partition(b"\n\n")[0] + b"\n\n" if name.endswith("METADATA") else data)
    assert run(sys.executable, "-m", "twine", "check", "--strict", bad, cwd=tmp_path).returncode == 1


def test_the_wheel_contains_only_the_package(distributions):
    folder = f"{PROJECT['name']}-{distributions.wheel.name.split('-')[1]}.dist-info"
    assert set(contents(distributions.wheel)) == sources("inceptionzoo") | {f"{folder}/{name}" for name in METADATA}
    assert "inceptionzoo/py.typed" in contents(distributions.wheel)
    assert distributions.wheel.name.endswith("-py3-none-any.whl")


def test_the_wheel_contains_the_licence(distributions):
    (digest,) = [digest for name, digest in contents(distributions.wheel).items() if name.endswith("licenses/LICENSE")]
    assert digest == hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()


def test_the_wheel_from_the_sdist_equals_the_wheel_from_the_checkout(distributions):
    assert contents(distributions.wheel) == contents(distributions.direct)


def test_the_metadata_agrees_with_pyproject(metadata):
    assert (metadata["Name"], metadata["Summary"], metadata["License-Expression"]) == (
        PROJECT["name"],
        PROJECT["description"],
        PROJECT["license"],
    )
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata.get_all("License-File") == PROJECT["license-files"]
    assert sorted(metadata.get_all("Classifier")) == sorted(PROJECT["classifiers"])
    assert sorted(metadata["Keywords"].split(",")) == sorted(PROJECT["keywords"])
    assert metadata.get_payload(decode=True).decode() == (ROOT / "README.md").read_text("utf-8")


def test_the_requirements_agree_with_pyproject(metadata):
    lines = list(map(Requirement, metadata.get_all("Requires-Dist")))
    assert {line for line in lines if line.marker is None} == set(map(Requirement, PROJECT["dependencies"]))
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    for extra in PROJECT["optional-dependencies"]:
        optional = [line for line in lines if line.marker is not None and line.marker.evaluate({"extra": extra})]
        for line in optional:
            line.marker = None
        assert set(optional) == requirements(extra)


def test_the_sdist_is_complete(distributions, tmp_path):
    root = unpack(distributions.sdist, tmp_path)
    contained = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert contained == sources(*FOLDERS) | set(TOP) | {".gitignore", "PKG-INFO"}


@pytest.mark.full
def test_the_sdist_runs_its_tests(distributions, tmp_path):
    root = unpack(distributions.sdist, tmp_path)
    pytest_command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    file = output(sys.executable, "-c", "import inceptionzoo; print(inceptionzoo.__file__)", cwd=root)
    assert Path(file.strip()) == root / "inceptionzoo" / "__init__.py"
    output(*pytest_command, "--collect-only", cwd=root)
    output(*pytest_command, "tests/test_package.py", "tests/spec/test_layers.py", "-k", "not example", cwd=root)
