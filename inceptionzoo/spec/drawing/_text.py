"""The width of a text in pixels, for any of the usual fonts."""

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
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 has no way to write it


def clean(words: str) -> str:
    """Return the text as one line that XML can hold; other characters become U+FFFD."""
    return UNPRINTABLE.sub("\ufffd", words).translate(dict.fromkeys(map(ord, "\t\n\r"), " "))


def measure(words: str, role: str = "plain") -> int:
    """Return an upper bound of the text's width in pixels, in any usual sans-serif font."""
    size, bold = ROLES[role]
    return math.ceil(sum(map(_width, clean(words))) * size * (1.1 if bold else 1.0))


def _width(character: str) -> float:
    """Return the width in ems."""
    if character in NARROW:
        return 0.42
    if character in WIDE or not character.isascii():
        return 1.05
    return 0.79 if character.isupper() else 0.66
