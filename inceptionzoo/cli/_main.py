"""The command line: inceptionzoo list | info | draw | convert | verify | bench."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from ..errors import ZooError
from ._parser import build_parser

FAILED, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 for success, 1 for an error, 130 for Ctrl-C.

    Invalid arguments end the process with exit code 2, as argparse does. `arguments` defaults to `sys.argv[1:]`.
    """
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:
        _complete(parser)
    options = parser.parse_args(arguments)
    try:
        result = options.run(options)
    except (ZooError, OSError) as error:
        print(f"inceptionzoo: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    if options.json:
        print(json.dumps(result, indent=2, default=dict))
    return 0


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's completion request and exit, if argcomplete is installed."""
    try:
        from argcomplete import autocomplete
    except ImportError:
        return
    autocomplete(parser)
