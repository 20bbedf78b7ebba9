"""Figure 6: hostile pickles through every door that loads anything; a canary file shows that one was executed."""

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
from pathlib import Path

import torch
from figure import Figure
from hostile_files import Case, cases
from isolated import same_bits
from torch import Tensor

import inceptionzoo as iz
from inceptionzoo.zoo._registry import REGISTRY

TINY = "tiny_for_reliability"
FORCE = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
EXECUTED, FORCED = "executions", "executions where the environment lifts torch's guard"
FOREIGN, HALF = "errors outside ZooError and OSError", "half-modified models"
LIVE, DUD = "executed where nothing guards", "not executed where nothing guards, though meant to be"


def tiny_network() -> iz.Network:
    """Return a network of every kind of tensor in a few kilobytes."""
    side = iz.Aux("stem", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2))
    return iz.network(stem=iz.Conv(4, 3), block=iz.inception(2, 2, 2, 2, 2, 2), aux=(side,))


@contextmanager
def tiny_model() -> Iterator[iz.Net]:
    """Yield a model of three classes that `create_model` knows; afterwards the registry is as it was."""
    before = dict(REGISTRY)
    layout = iz.Layout("theirs", (("head.fc.", "linear."),))
    iz.register_model(TINY, tiny_network, num_classes=3, input_size=(3, 8, 8), layouts=(layout,))
    try:
        torch.manual_seed(0)
        yield iz.create_model(TINY).eval()
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)


def other_values(model: iz.Net) -> OrderedDict[str, Tensor]:
    """Return weights that fit the model and are not its own."""
    return OrderedDict((key, value + 1) for key, value in model.state_dict().items())


def hostile_pickles(seed: int = 0, *, only: int | None = None, sabotage: str = "") -> Figure:
    """Return the figure of every hostile file at every door, with torch's own guard on and lifted by the environment.

    The same files are then read where nothing guards, to see that they do harm. `only` takes that many of them at random;
    `sabotage` is code that the process of the doors runs first.
    """
    figure = Figure("6 hostile pickles", (EXECUTED, FORCED, FOREIGN, HALF, DUD), (LIVE, "refused"))
    with tempfile.TemporaryDirectory() as name, tiny_model() as model:
        made = cases(Path(name), other_values(model), seed)
        made = made if only is None else random.Random(seed).sample(made, only)
        figure.counts["files"] = len(made)
        for key, environment in ((EXECUTED, {}), (FORCED, FORCE)):
            for found in _child(f"{sabotage}\nimport hostile\nhostile.run(hostile.knock)", made, environment):
                figure.add(*found)
            for case in _harmed(made, 0.5):
                figure.add(key, case.name)
        live = [case for case in made if case.live]
        _child("import hostile\nhostile.run(hostile.read_unguarded)", live, {})
        harmed = _harmed(live, 10)
        for case in live:
            figure.add(LIVE if case in harmed else DUD, case.name)
    return figure


def _child(code: str, made: list[Case], environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what `code` found in a new process, which is told names and paths of the cases."""
    with tempfile.TemporaryDirectory() as folder:
        told, results = Path(folder, "told.json"), Path(folder, "results.json")
        told.write_text(json.dumps([(case.name, str(case.path)) for case in made]), encoding="utf-8")
        paths = os.pathsep.join(map(str, (Path(__file__).parent, Path(iz.__file__).parents[1])))
        done = subprocess.run(
            [sys.executable, "-c", code, str(told), str(results)],
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


def _harmed(made: list[Case], patience: float) -> list[Case]:
    """Return the cases whose canary appears within so many seconds, and remove it; what was started may need a moment."""
    end = time.monotonic() + patience
    while time.monotonic() < end and not all(os.path.lexists(case.canary) for case in made):
        time.sleep(0.05)
    harmed = [case for case in made if os.path.lexists(case.canary)]
    for case in harmed:
        shutil.rmtree(case.canary) if case.canary.is_dir() else case.canary.unlink()
    return harmed


# --- in the child ---------------------------------------------------------------------------------------------------------
def run(work: Callable[[str, str, iz.Net], list[tuple[str, str]]]) -> None:
    """Do the work with each (name, path) of the first file named on the command line; write what it found to the second."""
    warnings.simplefilter("ignore")
    told, results = map(Path, sys.argv[1:])
    with tiny_model() as model:
        found = [item for name, path in json.loads(told.read_text(encoding="utf-8")) for item in work(name, path, model)]
    results.write_text(json.dumps(found), encoding="utf-8")


def knock(name: str, path: str, model: iz.Net) -> list[tuple[str, str]]:
    """Return what became of a file at every door."""
    found, before, wanted = [], copy.deepcopy(model.state_dict()), other_values(model)
    made = Path("made.safetensors")  # of convert
    doors: dict[str, Callable[[], object]] = {
        "load_weights": lambda: iz.load_weights(model, path),
        "create_model": lambda: iz.create_model(TINY, weights=path),
        "load_model": lambda: iz.load_model(path),
    }
    if hasattr(iz, "convert"):
        doors["convert"] = lambda: (iz.convert(path, made, architecture=TINY), iz.load_model(made))[1]
    for door, load in doors.items():
        try:
            result = load()
            net = result if isinstance(result, iz.Net) else model
            key, whole = "loaded, whole and unharmed", same_bits(net.state_dict(), wanted)
        except BaseException as error:
            known = isinstance(error, iz.ZooError | OSError)
            key, whole = "refused" if known else FOREIGN, same_bits(model.state_dict(), before) and not made.exists()
            found.append((key, f"{name}, {door}: {error!r:.200}"))
        else:
            found.append((key, ""))
        if not whole:
            found.append((HALF, f"{name}, {door}"))
        model.load_state_dict(before)
        made.unlink(missing_ok=True)
    return found


def read_unguarded(name: str, path: str, model: iz.Net) -> list[tuple[str, str]]:
    """Read a file as those do who trust it."""
    with suppress(BaseException), open(path, "rb") as stream:  # torch has a reader of its own for what is named .safetensors
        torch.load(stream, weights_only=False)
    return []
