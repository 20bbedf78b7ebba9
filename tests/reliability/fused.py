"""The figure of fused networks: random networks agree with the unfused ones and stay inside their memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from figure import Figure

FUZZ = Path(__file__).parents[1] / "inference" / "fuzz.py"
NETWORKS = 500  # in each process


def random_networks(count: int) -> Figure:
    """Compare `count` random fused networks with the unfused ones in float64; see `tests/inference/fuzz.py`."""
    figure = Figure("random networks, fused", ("wrong by more than 1e-4", "crash", "hang"), ("right",))
    starts = range(0, count, NETWORKS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda start: try_networks(start, min(NETWORKS, count - start)), starts):
            for key, example in found:
                figure.add(key, example)
    return figure


def try_networks(first: int, count: int) -> list[tuple[str, str]]:
    """Return (counter, example) for each network; a process that dies is followed by one for the remaining networks."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        start = first + len(found)
        width = "8" if first // NETWORKS % 2 else "16"
        command = [sys.executable, str(FUZZ), "--seed", str(start), "--count", str(count - len(found)), "--width", width]
        result = subprocess.run(command, capture_output=True, text=True)
        cases = re.split(r"^case (\d+)$", result.stdout, flags=re.MULTILINE)[1:]
        if not cases or (result.returncode == 1 and "Traceback" in result.stderr):
            raise RuntimeError(f"the test's own code failed: {result.stderr}")
        texts = list(zip(cases[::2], cases[1::2], strict=True))
        ended = result.returncode in (0, 1) and "Timeout" not in result.stderr
        for number, text in texts if ended else texts[:-1]:
            found.append(("wrong by more than 1e-4", f"network {number}: {text}") if "\nfault " in text else ("right", ""))
        if not ended:
            found.append(("hang" if "Timeout" in result.stderr else "crash", f"network {texts[-1][0]}: {result.stderr[-500:]}"))
    return found
