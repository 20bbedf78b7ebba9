"""The file of a model card. It is replaced as long as nobody has edited it."""

from __future__ import annotations

import hashlib
import re

CARD = "README.md"
DIGEST = re.compile(r"\n<!-- Written by inceptionzoo: ([0-9a-f]{64})\. An edited card is kept\. -->\n\Z")


def with_digest(card: str) -> str:
    """Return the card with a last line, hidden on the Hub, that has the SHA-256 of the rest."""
    return f"{card}\n<!-- Written by inceptionzoo: {_sha256(card)}. An edited card is kept. -->\n"


def without_digest(text: str) -> str:
    """Return the card without the line of `with_digest`."""
    return DIGEST.sub("", text)


def is_edited(text: str) -> bool:
    """Return whether a card is not as `with_digest` returned it: edited, or written by another program."""
    match = DIGEST.search(text)
    return match is None or match[1] != _sha256(text[: match.start()])


def kept_message(place: str) -> str:
    """Return the warning that the card in a folder or repository was kept."""
    return f"{place}: {CARD} was edited or is of another program, and is kept; delete it there to get a new one"


def _sha256(card: str) -> str:
    return hashlib.sha256(card.encode()).hexdigest()
