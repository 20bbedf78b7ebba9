"""Colour for a terminal, where it is wanted."""

from __future__ import annotations

import os
import re
from typing import TextIO

BOLD, DIM = "1", "2"
POOL, NORM, DEPTHWISE, OP = "31", "32", "36", "35"  # of the eight colours that a terminal's own theme keeps readable
KINDS = {"max": POOL, "avg": POOL, "adaptive_avg": POOL, "style": NORM, "lrn": NORM, "depthwise": DEPTHWISE, "op": OP}
SHADES = ((2 / 3, "1;35"), (1 / 3, BOLD), (1 / 10, ""), (0.0, DIM))  # the least share of the largest, and how it looks


def supports_colour(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that shows colour: NO_COLOR says that none does, else FORCE_COLOR that all do."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    known = os.name == "posix" or "WT_SESSION" in os.environ  # older consoles of Windows print the codes themselves
    terminal: bool = getattr(stream, "isatty", bool)()  # whatever a notebook or an embedding program has put there
    return terminal and known and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """Return a text in the colour or weight of an ANSI code; the empty one leaves it as it is."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


def tint(branches: str) -> str:
    """Return branches with their kinds in colours and the signs between them faint."""
    return re.sub(r"[a-z_]+|[|>+]", lambda found: paint(found[0], KINDS.get(found[0], DIM)), branches)


def shade(text: str, share: float) -> str:
    """Return a text that stands out as much as its share of the largest, 0 to 1, says."""
    return paint(text, next(code for least, code in SHADES if share >= least))
