"""References to repositories: "hf-hub:OWNER/NAME@REVISION" on the Hub, "local-dir:PATH" in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import ArgumentError

HUB, LOCAL = "hf-hub:", "local-dir:"
WORD = "[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"  # the Hub's own rule for names
REVISION = "(?=.{1,200}$)[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"  # a relative path
REFERENCE = re.compile(f"(?P<owner>{WORD})/(?P<name>{WORD})(?:@(?P<revision>{REVISION}))?")


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository at a revision, which is a branch, a tag or a commit."""

    owner: str
    name: str
    revision: str = "main"

    @property
    def repo(self) -> str:
        """The repository's id."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"{HUB}{self.repo}" + ("" if self.revision == "main" else f"@{self.revision}")


def parse_reference(text: str) -> HubReference:
    """Return what "hf-hub:owner/name@revision" refers to.

    Raises:
        ArgumentError: the text has another form.
    """
    match = REFERENCE.fullmatch(text.removeprefix(HUB))
    if not match or ".." in text or "--" in match["owner"] + "/" + match["name"]:
        raise ArgumentError(f"{text[:200]!r} must be {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION")
    return HubReference(match["owner"], match["name"], match["revision"] or "main")


def is_reference(source: object) -> bool:
    """Return whether a source of weights is a Hub repository ("hf-hub:") or a local folder ("local-dir:")."""
    return isinstance(source, str) and source.startswith((HUB, LOCAL))
