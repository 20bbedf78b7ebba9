"""Run all reliability figures (`make reliability`): print a line for each counter, then a table.

About an hour on two cores. `python figures.py 0.1` runs a tenth of the cases of the large figures.
"""

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


def planned(share: float) -> list[Callable[[], Figure]]:
    """Return the figures in order; the number of cases of the large ones is multiplied by `share`."""

    def of(count: int) -> int:
        return max(1, round(count * share))

    return [
        lambda: files.malformed_safetensors(of(1_000_000)),
        lambda: files.malformed_pth(of(50_000)),
        lambda: files.malformed_keras(of(100_000)),
        lambda: files.transactional(of(10_000)),
        lambda: files.killed_saves(of(1_000)),
        downloads.host_faults,
        downloads.damaged_caches,
        lambda: downloads.hostile_names(of(10_000)),
        hostile.hostile_pickles,
        lambda: downloads.lying_configs(of(10_000)),
        silent.nothing_silent,
        teaching.misspellings,
        teaching.bad_arguments,
        lambda: teaching.smallest_inputs(iz.list_models()),
        lambda: files.readers_beside_writers(of(10_000), of(1_000)),
        lambda: fused.random_networks(of(100_000)),
    ]


def main(share: float) -> int:
    """Run and print every figure; return the number of figures that failed."""
    done = []
    for figure in planned(share):
        start = time.monotonic()
        done.append(figure())
        print(*done[-1].lines(), f"{done[-1].name} | seconds | {time.monotonic() - start:.0f}", sep="\n", flush=True)
    print("\n| figure | tried | must be 0 | |\n| --- | ---: | ---: | --- |")
    for figure in done:
        bad = sum(figure.counts[key] for key in figure.zero)
        print(f"| {figure.name} | {figure.counts.total():,} | {bad:,} | {'; '.join(figure.failures) or 'passed'} |")
    print("\n| other libraries, on the same machine | cases |\n| --- | ---: |")
    for figure in files.peers_files():
        print(*(f"| {figure.name}: {key} | {count:,} |" for key, count in figure.counts.items()), sep="\n")
    return sum(bool(figure.failures) for figure in done)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 1.0))
