"""CITATION.cff describes the project and cites every paper."""

import re
import tomllib

import pytest
import yaml
from commands import ROOT

from inceptionzoo.zoo._registry import REGISTRY

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
PAPERS = {entry.paper for entry in REGISTRY.values()}


def citation(reference: dict) -> tuple[str, ...]:
    """Return the title, the conference or journal with its year, and the arXiv number of a reference."""
    (number,) = (item["value"] for item in reference["identifiers"])
    where = reference["conference"]["name"] if "conference" in reference else f"{reference['journal']} {reference['year']}"
    return reference["title"], where, number


def test_it_agrees_with_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert (CITATION["title"], CITATION["license"]) == (project["name"], project["license"])
    assert CITATION["keywords"] == project["keywords"]
    assert all(CITATION[key] for key in ("message", "abstract", "authors"))


@pytest.mark.parametrize("paper", sorted(PAPERS))
def test_every_paper_of_the_registry_is_a_reference(paper):
    """The registry writes a paper as "authors, title, conference, arXiv number", and the first author's name begins it."""
    (reference,) = [reference for reference in CITATION["references"] if citation(reference)[2] == paper.rpartition(", ")[2]]
    assert paper.endswith(", ".join(citation(reference)))
    assert paper.startswith(reference["authors"][0]["family-names"])


def test_references_are_distinct_and_complete():
    assert len(CITATION["references"]) == len(PAPERS)
    for reference in CITATION["references"]:
        _, conference, number = citation(reference)
        assert conference.endswith(str(reference["year"]))
        assert reference["url"] == f"https://arxiv.org/abs/{number.removeprefix('arXiv:')}"
        assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", number)
