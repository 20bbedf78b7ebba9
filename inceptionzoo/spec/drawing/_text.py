"""The width of a text in pixels, at most, in common sans-serif fonts."""

from __future__ import annotations

import math
import re

ROLES = {  # pixels, whether bold
    "title": (22, True),
    "heading": (14, True),
    "strong": (12, True),
    "plain": (12, False),
    "small": (11, False),
}
NARROW, WIDE = frozenset(" .,:;|/!'()[]-ijlIft"), frozenset("mwMW@%+=<>~")
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 cannot represent it


def clean(words: str) -> str:
    """Return the text as one line. Characters that XML cannot represent become U+FFFD."""
    return UNPRINTABLE.sub("\ufffd", words).translate(dict.fromkeys(map(ord, "\t\n\r"), " "))


def measure(words: str, role: str = "plain") -> int:
    """Return an upper bound of the text's width in pixels, for common sans-serif fonts."""
    size, bold = ROLES[role]
    return math.ceil(sum(map(_width, clean(words))) * size * (1.1 if bold else 1.0))


def _width(character: str) -> float:
    """Return the width in ems."""
    if character in NARROW:
        return 0.42
    if character in WIDE or not character.isascii():
        return 1.05
    return 0.79 if character.isupper() else 0.66
