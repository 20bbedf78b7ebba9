"""Ctrl-C while the command line imports torch, which takes seconds: the process ends without a traceback."""

from __future__ import annotations

import signal
import sys
from pathlib import Path


def is_command_line() -> bool:
    """Return whether this process is the program `inceptionzoo` or `python -m inceptionzoo`, and not one of its workers."""
    words = sys.orig_argv[1:3]
    return words == ["-m", "inceptionzoo"] or (bool(words) and Path(words[0]).stem == "inceptionzoo")


def restore() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, as in every other program."""
    if is_command_line() and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if is_command_line() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
