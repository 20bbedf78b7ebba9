"""Figure 6: hostile pickles, passed to every function that loads weights; a canary file shows that one was executed."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import torch
from figure import Figure
from helpers import tiny_network
from hostile_files import Case, cases
from isolated import same_bits
from torch import Tensor

import inceptionzoo as iz
from inceptionzoo.zoo._registry import REGISTRY

TINY = "tiny_for_reliability"
FORCE = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
EXECUTED, FORCED = "executions", "executions with torch's guard disabled by the environment"
FOREIGN, HALF = "errors other than ZooError and OSError", "half-modified models"
LIVE, DUD = "executed by an unguarded torch.load", "not executed by an unguarded torch.load, although it should be"


@contextmanager
def tiny_model() -> Iterator[iz.Net]:
    """Yield a registered model of three classes; afterwards the registry is restored."""
    before = dict(REGISTRY)
    layout = iz.Layout("theirs", (("head.fc.", "linear."),))
    iz.register_model(TINY, partial(tiny_network, five=5), num_classes=3, input_size=(3, 8, 8), layouts=(layout,))
    try:
        torch.manual_seed(0)
        yield iz.create_model(TINY).eval()
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)


def other_values(model: iz.Net) -> OrderedDict[str, Tensor]:
    """Return weights that fit the model and differ from its own."""
    return OrderedDict((key, value + 1) for key, value in model.state_dict().items())


def hostile_pickles(seed: int = 0, *, only: int | None = None, sabotage: str = "") -> Figure:
    """Pass every hostile file to every loading function, with torch's guard enabled and disabled by the environment.

    The same files are then read without any guard, to see that they do harm. `only` selects that many files at random.
    `sabotage` is code that the loading process runs first.
    """
    figure = Figure("6 hostile pickles", (EXECUTED, FORCED, FOREIGN, HALF, DUD), (LIVE, "refused"))
    with tempfile.TemporaryDirectory() as name, tiny_model() as model:
        made = cases(Path(name), other_values(model), seed)
        made = made if only is None else random.Random(seed).sample(made, only)
        figure.counts["files"] = len(made)
        for key, environment in ((EXECUTED, {}), (FORCED, FORCE)):
            for found in _child(f"{sabotage}\nimport hostile\nhostile.run(hostile.load_everywhere)", made, environment):
                figure.add(*found)
            for case in _executed(made, 0.5):
                figure.add(key, case.name)
        live = [case for case in made if case.live]
        _child("import hostile\nhostile.run(hostile.read_unguarded)", live, {})
        executed = _executed(live, 10)
        for case in live:
            figure.add(LIVE if case in executed else DUD, case.name)
    return figure


def _child(code: str, made: list[Case], environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Run `code` in a new process, which gets the names and paths of the cases; return what it found."""
    with tempfile.TemporaryDirectory() as folder:
        listing, results = Path(folder, "cases.json"), Path(folder, "results.json")
        listing.write_text(json.dumps([(case.name, str(case.path)) for case in made]), encoding="utf-8")
        paths = os.pathsep.join(map(str, (*Path(__file__).parents[:2], Path(iz.__file__).parents[1])))
        done = subprocess.run(
            [sys.executable, "-c", code, str(listing), str(results)],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            env=os.environ | environment | {"PYTHONPATH": paths},
            timeout=600,
        )
        if not results.exists():
            return [(FOREIGN, f"the process ended with {done.returncode}: {done.stderr[-500:]}")]
        return [(key, example) for key, example in json.loads(results.read_text(encoding="utf-8"))]


def _executed(made: list[Case], seconds: float) -> list[Case]:
    """Return the cases whose canary appears within so many seconds, and remove the canaries; a process may need a moment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(os.path.lexists(case.canary) for case in made):
        time.sleep(0.05)
    executed = [case for case in made if os.path.lexists(case.canary)]
    for case in executed:
        shutil.rmtree(case.canary) if case.canary.is_dir() else case.canary.unlink()
    return executed


# --- in the child ---------------------------------------------------------------------------------------------------------
def run(work: Callable[[str, str, iz.Net], list[tuple[str, str]]]) -> None:
    """Call `work` for each (name, path) in the first file of the command line; write the results to the second."""
    warnings.simplefilter("ignore")
    listing, results = map(Path, sys.argv[1:])
    with tiny_model() as model:
        found = [item for name, path in json.loads(listing.read_text(encoding="utf-8")) for item in work(name, path, model)]
    results.write_text(json.dumps(found), encoding="utf-8")


def load_everywhere(name: str, path: str, model: iz.Net) -> list[tuple[str, str]]:
    """Return what happened when each function loaded the file."""
    found, before, wanted = [], copy.deepcopy(model.state_dict()), other_values(model)
    converted = Path("converted.safetensors")
    functions: dict[str, Callable[[], object]] = {
        "load_weights": lambda: iz.load_weights(model, path),
        "create_model": lambda: iz.create_model(TINY, weights=path),
        "load_model": lambda: iz.load_model(path),
    }
    if hasattr(iz, "convert"):
        functions["convert"] = lambda: (iz.convert(path, converted, architecture=TINY), iz.load_model(converted))[1]
    for function, load in functions.items():
        try:
            result = load()
            net = result if isinstance(result, iz.Net) else model
            key, whole = "loaded correctly", same_bits(net.state_dict(), wanted)
        except BaseException as error:
            known = isinstance(error, iz.ZooError | OSError)
            key, whole = "refused" if known else FOREIGN, same_bits(model.state_dict(), before) and not converted.exists()
            found.append((key, f"{name}, {function}: {error!r:.200}"))
        else:
            found.append((key, ""))
        if not whole:
            found.append((HALF, f"{name}, {function}"))
        model.load_state_dict(before)
        converted.unlink(missing_ok=True)
    return found


def read_unguarded(name: str, path: str, model: iz.Net) -> list[tuple[str, str]]:
    """Load a file with an unguarded torch.load."""
    with suppress(BaseException), open(path, "rb") as stream:  # torch would read a path ending in .safetensors differently
        torch.load(stream, weights_only=False)
    return []
