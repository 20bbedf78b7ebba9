"""Checks of the arguments of commands."""

from __future__ import annotations

from pathlib import Path

from ..errors import ArgumentError


def check_target_folder(option: str, path: str | None) -> None:
    """Check that the folder of a file to write exists.

    Raises:
        ArgumentError: it does not. The message names the option.
    """
    if path is not None and not Path(path).parent.is_dir():
        raise ArgumentError(f"{option} {path}: the folder {Path(path).parent} does not exist; create it")


def positive_int(text: str) -> int:
    """Return a positive int, for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value
