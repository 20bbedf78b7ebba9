"""Run the command line: `python -m inceptionzoo`."""

import sys

from .cli import run

if __name__ == "__main__":
    sys.exit(run())
