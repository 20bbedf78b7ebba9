"""The command line: inceptionzoo list | info | predict | evaluate | train | draw | convert | verify | bench | cache."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import importlib
import io
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, ZooError
from ._parser import build_parser

FAILED, UNREADABLE = 1, 3
INTERRUPTED, BROKEN_PIPE = 130, 141  # as the shell reports them
OPTIONS = {  # in messages of functions: the option for an argument
    "folder as out": "folder as --out",
    "resume=False": "--overwrite",
    "pass architecture=NAME": "pass --architecture NAME",
    "leave out architecture": "leave out --architecture",
    "pass weights=FILE": "pass --weights FILE",
    "batches=": "--batch ",
    "img_size=": "--size ",
    "with_peers=True": "--peers",
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command as a program and return its exit code. Ctrl-C ends the process by SIGINT, so that a shell ends its loop."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # from inceptionzoo/__init__.py
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = main(arguments)
    if code == INTERRUPTED:
        sys.excepthook = lambda *_: None  # no traceback
        raise KeyboardInterrupt
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    It is 0 for success, 1 for an error, 3 if images were left out that could not be read, 130 for Ctrl-C, and 141 for a closed
    pipe. Invalid arguments end the process with exit code 2, as argparse does. `arguments` defaults to `sys.argv[1:]`.
    """
    _open_closed_streams()
    _print_any_file_name()
    try:
        parser = build_parser()
        if "_ARGCOMPLETE" in os.environ:
            _complete(parser)
        options = parser.parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning  # type: ignore[assignment]  # it takes what Python's takes, and ignores it
            _import_modules([*options.imports, *options.later_imports])
            result = options.run(options)
        if options.json:
            print(json.dumps(_as_json(result), indent=2, allow_nan=False))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, for example `head`, has what it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail too
        return BROKEN_PIPE
    except (ZooError, OSError) as error:
        _print_message(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return _exit_code(result)


def _open_closed_streams() -> None:
    """Let stdout and stderr discard what is written to them, if they were closed before the start: they are None then."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # it stays open


def _print_any_file_name() -> None:
    """Let stdout print names of files that its encoding does not have: as their bytes in UTF-8, else with backslashes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        is_utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def _as_json(value: Any) -> Any:
    """Return the value with plain dicts and lists, and None for nan and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _exit_code(result: Any) -> int:
    """Return the exit code for what a command returned."""
    if isinstance(result, dict) and result.get("interrupted"):
        return INTERRUPTED
    return UNREADABLE if isinstance(result, dict) and result.get("unreadable") else 0


def _print_warning(message: Warning | str, *_: Any) -> None:
    """Print a warning without the line of code that gave it."""
    _print_message(f"warning: {message}")


def _print_message(text: str) -> None:
    for argument, option in OPTIONS.items():
        text = text.replace(argument, option)
    print(f"inceptionzoo: {text}", file=sys.stderr)


def _import_modules(names: Sequence[str]) -> None:
    """Import modules of the user's own, from the current folder too. What they print goes to stderr.

    Raises:
        ArgumentError: a module cannot be found, or raises an error.
    """
    if names and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
            raise ArgumentError(f"--import {name!r} must be the name of a module, for example my_models for my_models.py")
        try:
            with contextlib.redirect_stdout(sys.stderr):
                importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a module can raise anything, and can call sys.exit
            problem = f"{type(error).__name__}: {error}"
            raise ArgumentError(
                f"--import {name}: {problem}; pass a module that Python can import from {Path.cwd()}"
            ) from error


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's completion request and exit, if argcomplete is installed."""
    try:
        from argcomplete import autocomplete
    except ImportError:
        return
    autocomplete(parser)
