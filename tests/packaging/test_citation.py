"""CITATION.cff says what the project is, and names every paper."""

import re
import tomllib

import pytest
import yaml
from commands import ROOT

from inceptionzoo.zoo._registry import REGISTRY

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
PAPERS = {entry.paper for entry in REGISTRY.values()}


def told(reference: dict) -> tuple[str, ...]:
    """Return (title, conference and year, arXiv number) of a reference."""
    (number,) = (item["value"] for item in reference["identifiers"])
    return reference["title"], reference["conference"]["name"], number


def test_it_says_what_the_project_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert (CITATION["title"], CITATION["license"]) == (project["name"], project["license"])
    assert CITATION["keywords"] == project["keywords"]
    assert all(CITATION[key] for key in ("message", "abstract", "authors"))


@pytest.mark.parametrize("paper", sorted(PAPERS))
def test_every_paper_of_the_registry_is_a_reference(paper):
    """A paper is "authors, title, conference, arXiv number"; the first author's name stands in both."""
    (found,) = [reference for reference in CITATION["references"] if told(reference)[2] == paper.rpartition(", ")[2]]
    assert paper.endswith(", ".join(told(found)))
    assert paper.startswith(found["authors"][0]["family-names"])


def test_no_reference_is_another():
    assert len(CITATION["references"]) == len(PAPERS)
    for reference in CITATION["references"]:
        _, conference, number = told(reference)
        assert conference.endswith(str(reference["year"]))
        assert reference["url"] == f"https://arxiv.org/abs/{number.removeprefix('arXiv:')}"
        assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", number)
