"""Run all reliability figures (`make reliability`): print a line for each counter, then a table.

Several hours on two cores. `python figures.py --share 0.1` runs a tenth of the cases of the large figures, and
`python figures.py killed_saves host_faults` runs those figures only.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/server.py

import downloads
import files
import fused
import hostile
import silent
import teaching
from figure import Figure

import inceptionzoo as iz

IMAGE_MODELS = [name for name in iz.list_models() if len(iz.model_info(name).input_size) == 3]


def planned(share: float) -> dict[str, Callable[[], Figure]]:
    """Return the figures by name, in order; the number of cases of the large ones is multiplied by `share`."""

    def of(count: int) -> int:
        return max(1, round(count * share))

    return {
        "malformed_safetensors": lambda: files.malformed_safetensors(of(1_000_000)),
        "malformed_pth": lambda: files.malformed_pth(of(50_000)),
        "malformed_keras": lambda: files.malformed_keras(of(100_000)),
        "transactional": lambda: files.transactional(of(10_000)),
        "killed_saves": lambda: files.killed_saves(of(1_000)),
        "host_faults": downloads.host_faults,
        "damaged_caches": downloads.damaged_caches,
        "hostile_names": lambda: downloads.hostile_names(of(10_000)),
        "hostile_pickles": hostile.hostile_pickles,
        "lying_configs": lambda: downloads.lying_configs(of(10_000)),
        "nothing_silent": silent.nothing_silent,
        "misspellings": teaching.misspellings,
        "bad_arguments": teaching.bad_arguments,
        "smallest_inputs": lambda: teaching.smallest_inputs(IMAGE_MODELS),
        "readers_beside_writers": lambda: files.readers_beside_writers(of(10_000), of(1_000)),
        "random_networks": lambda: fused.random_networks(of(100_000)),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"{', '.join(planned(1.0))}; default: all")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of the large figures")
    asked = parser.parse_args()
    if unknown := set(asked.figures) - planned(1.0).keys():
        parser.error(f"unknown figures {', '.join(unknown)}; they are {', '.join(planned(1.0))}")
    return asked


def main(asked: argparse.Namespace) -> int:
    """Run and print every figure that is asked for; return the number of figures that failed."""
    done = []
    for name, figure in planned(asked.share).items():
        if asked.figures and name not in asked.figures:
            continue
        start = time.monotonic()
        done.append(figure())
        print(*done[-1].lines(), f"{done[-1].name} | seconds | {time.monotonic() - start:.0f}", sep="\n", flush=True)
    print("\n| figure | tried | must be 0 | |\n| --- | ---: | ---: | --- |")
    for figure in done:
        bad = sum(figure.counts[key] for key in figure.zero)
        print(f"| {figure.name} | {figure.counts.total():,} | {bad:,} | {'; '.join(figure.failures) or 'passed'} |")
    if not asked.figures:
        print("\n| other libraries, on the same machine | cases |\n| --- | ---: |")
        for figure in files.peers_files():
            print(*(f"| {figure.name}: {key} | {count:,} |" for key, count in figure.counts.items()), sep="\n")
    return sum(bool(figure.failures) for figure in done)


if __name__ == "__main__":
    sys.exit(main(parse()))
