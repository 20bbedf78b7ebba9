"""ANSI colours for text on a terminal."""

from __future__ import annotations

import os
import re
from typing import TextIO

BOLD, DIM = "1", "2"
POOL, NORM, DEPTHWISE, OP = "31", "32", "36", "35"  # four of the eight basic colours, which terminal themes keep readable
KINDS = {"max": POOL, "avg": POOL, "adaptive_avg": POOL, "norm": NORM, "lrn": NORM, "depthwise": DEPTHWISE, "op": OP}
SHADES = ((2 / 3, "1;35"), (1 / 3, BOLD), (1 / 10, ""), (0.0, DIM))  # (smallest share of the largest value, code)


def supports_colour(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal that understands ANSI colour codes.

    The environment variable NO_COLOR turns colour off, FORCE_COLOR turns it on. NO_COLOR takes precedence.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    understands_codes = os.name == "posix" or "WT_SESSION" in os.environ  # older Windows consoles print the codes
    is_terminal: bool = getattr(stream, "isatty", bool)()  # notebooks replace sys.stdout by objects without isatty
    return is_terminal and understands_codes and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """Return the text with an ANSI code around it; "" leaves it unchanged."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


def tint(branches: str) -> str:
    """Return the text of `Row.branches` with layer kinds coloured and separators dimmed."""
    return re.sub(r"[a-z_]+|[|>+]", lambda match: paint(match[0], KINDS.get(match[0], DIM)), branches)


def shade(text: str, share: float) -> str:
    """Return the text, the more prominent the larger `share` is: the value divided by the column's largest."""
    return paint(text, next(code for smallest, code in SHADES if share >= smallest))
