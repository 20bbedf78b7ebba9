"""The check before a release, and the workflows that call make."""

import re

import pytest
import yaml
from commands import ROOT
from release import problems

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
needs_workflows = pytest.mark.skipif(not FOLDER.is_dir(), reason="a source distribution has no workflows")
READY = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- x\n"


def test_what_prevents_a_release():
    assert problems(READY, "0.2.0", "v0.2.0") == problems(READY, "0.2.0", None) == []
    assert problems(READY, "0.2.0", "v0.3.0") == ["the tag is v0.3.0, the version is 0.2.0; the tag must be v0.2.0"]
    assert problems(READY, "0.3.0", None) == ["the changelog has no dated section [0.3.0]"]
    waiting = READY.replace("[Unreleased]\n", "[Unreleased]\n\n### Fixed\n\n- y\n")
    assert [text.partition(";")[0] for text in problems(waiting, "0.2.0", None)] == ["the changelog has unreleased entries"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_workflows_call_targets_that_exist(path):
    text = path.read_text("utf-8")
    targets = re.findall(r"make ([\w-]+)", text)
    assert targets
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    jobs = yaml.safe_load(text)["jobs"]
    assert all("runs-on" in job and job["steps"] for job in jobs.values())


@needs_workflows
def test_the_workflow_tests_the_versions_that_are_classified():
    jobs = yaml.safe_load((FOLDER / "ci.yml").read_text("utf-8"))["jobs"]
    classified = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(classified) <= set(jobs["linux"]["strategy"]["matrix"]["python"])


@needs_workflows
def test_the_quick_tests_are_the_same_everywhere():
    variables = dict(re.findall(r"^(LOCAL|QUICK) = (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    quick = variables["QUICK"].replace("$(LOCAL)", variables["LOCAL"])
    assert f"pytest {quick}\n" in (FOLDER / "ci.yml").read_text("utf-8")
