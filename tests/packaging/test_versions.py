"""The version is written in `inceptionzoo/__init__.py`; the other places agree with it."""

import datetime
import re
import tomllib

import pytest
import yaml
from commands import ROOT

import inceptionzoo as iz

SEMANTIC = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
RELEASE = re.compile(r"^## \[(?P<version>[^\]]+)\] - (?P<date>\d{4}-\d\d-\d\d)$")
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}  # of keepachangelog.com


def problems(text: str) -> list[str]:
    """Return what is wrong with a changelog: its versions, their order, the sections of a release."""
    messages, last = [], None
    for line in text.splitlines():
        if line.startswith("### "):
            messages += [] if line[4:] in SECTIONS else [f"unknown section: {line}"]
        elif line.startswith("## ") and line != "## [Unreleased]":
            release = RELEASE.fullmatch(line)
            if release is None or not SEMANTIC.fullmatch(release["version"]):
                messages.append(f"not a release: {line}")
                continue
            release_key = tuple(map(int, release["version"].split("."))), datetime.date.fromisoformat(release["date"])
            messages += [f"out of order: {line}"] if last and (release_key[0] >= last[0] or release_key[1] > last[1]) else []
            last = release_key
    return messages


def test_every_version_is_the_same(distributions):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    newest = next(filter(None, map(RELEASE.fullmatch, (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines())))
    assert SEMANTIC.fullmatch(iz.__version__)
    assert {iz.__version__, newest["version"], citation["version"]} == {iz.__version__}
    assert newest["date"] == citation["date-released"].isoformat()
    assert distributions.wheel.name.split("-")[1] == iz.__version__
    assert distributions.sdist.name == f"inceptionzoo-{iz.__version__}.tar.gz"


def test_the_version_is_written_once():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" in pyproject["project"]["dynamic"]
    assert pyproject["tool"]["hatch"]["version"] == {"path": "inceptionzoo/__init__.py"}
    texts = [path.read_text("utf-8") for path in (ROOT / "inceptionzoo").rglob("*.py")]
    assert sum(f'"{iz.__version__}"' in text for text in texts) == 1


def test_the_changelog_is_well_formed():
    assert problems((ROOT / "CHANGELOG.md").read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("## [0.1.0] - 2026-01-02\n### Added\n## [0.2.0] - 2026-01-01", "out of order: ## [0.2.0] - 2026-01-01"),
        ("## [0.2.0] - 2026-01-01\n## [0.1.0] - 2026-01-02", "out of order: ## [0.1.0] - 2026-01-02"),
        ("## [0.1.0] - 2026-01-01\n## [0.1.0] - 2026-01-01", "out of order: ## [0.1.0] - 2026-01-01"),
        ("## [0.1] - 2026-01-01", "not a release: ## [0.1] - 2026-01-01"),
        ("## 0.1.0", "not a release: ## 0.1.0"),
        ("## [Unreleased]\n### News", "unknown section: ### News"),
    ],
)
def test_faults_of_a_changelog_are_reported(text, problem):
    assert problems(text) == [problem]
