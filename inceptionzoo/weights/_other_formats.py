"""Files that are often downloaded in place of weights."""

from __future__ import annotations

SIGNATURES = {  # the first bytes in lower case: what the file is, and the remedy
    b"version ": "a git-LFS pointer; fetch the file itself with `git lfs pull`",
    b"<!doctyp": "an HTML page; download the file itself",
    b"<html": "an HTML page; download the file itself",
}


def identify_other_format(start: bytes) -> str:
    """Return what a file with these first bytes is, and the remedy; "" if it may be a weight file."""
    return next((what for signature, what in SIGNATURES.items() if start.lower().startswith(signature)), "")
