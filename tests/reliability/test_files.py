"""A small run of the figures of weight files: damaged, faulty, killed while saving, changed while they are read."""

import os
import signal
import time
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import files
import isolated
import pytest
from figure import Figure

from inceptionzoo.weights import _atomic as atomic
from inceptionzoo.weights import _load as load
from inceptionzoo.weights import _pth as pth
from inceptionzoo.weights import _safetensors as safetensors

SMALL = {
    files.malformed_safetensors: (10_000,),
    files.malformed_pth: (2_000,),
    files.malformed_keras: (500,),
    files.transactional: (300,),
    files.killed_saves: (20,),
    files.readers_beside_writers: (300, 60),
}


@pytest.mark.parametrize("figure", SMALL, ids=lambda figure: figure.__name__)
def test_nothing_fails(figure):
    result = figure(*SMALL[figure])
    assert result.failures == [], "\n".join(result.lines())


@pytest.mark.full
def test_other_libraries_fail_at_the_same_faults():
    counts = sum((figure.counts for figure in files.peers_files(flips=100, kills=20)), Counter())
    assert counts["safetensors.torch.load: loaded silently changed"] == 100
    assert counts["torch.load: loaded silently changed"] > 0
    assert counts["torch load_state_dict, shape: refused, the model half changed"] > 0
    assert counts["torch.save: the old file is lost"] > 0
    assert counts["safetensors.torch.load_file: killed by SIGBUS"] == 1


# --- without each guard, a counter must count --------------------------------------------------------------------------
def always_matches(header, expected):
    return SimpleNamespace(update=lambda data: None, hexdigest=lambda: expected)


adapt_tensor = load.adapt_tensor


def adapt_and_copy(key, name, value, target, **options):
    value, change = adapt_tensor(key, name, value, target, **options)
    target.copy_(value)
    return value, change


@contextmanager
def write_in_place(path):
    with open(path, "wb") as stream:
        time.sleep(0.03)  # the file is empty for long enough that a reader sees it
        yield stream


QUICK_GUARDS = [
    (safetensors, "start_digest", always_matches, files.malformed_safetensors, (1000,), "silent wrong load"),
    (load, "adapt_tensor", adapt_and_copy, files.malformed_safetensors, (2000,), "half-modified model"),
    (safetensors, "atomic_write", write_in_place, files.readers_beside_writers, (200, 20), "load failed"),
    (atomic, "_sync_folder", lambda folder: None, files.killed_saves, (0,), "wrong order"),
]
SLOW_GUARDS = [
    (load, "adapt_tensor", adapt_and_copy, files.transactional, (200,), "half-modified model"),
    (load, "find_invalid_values", lambda values: [], files.transactional, (200,), "fault accepted"),
    (pth, "_check_archive", lambda stream, path: None, files.malformed_pth, (1000,), "silent wrong load"),
    (safetensors, "atomic_write", write_in_place, files.killed_saves, (20,), "old file lost"),
    (atomic, "_remove_orphans", lambda target: None, files.killed_saves, (20,), "temporary file left after the next save"),
]
GUARDS = [*QUICK_GUARDS, *(pytest.param(*guard, marks=pytest.mark.full) for guard in SLOW_GUARDS)]


@pytest.mark.parametrize(
    ("module", "name", "replacement", "figure", "counts", "counter"), GUARDS, ids=lambda value: getattr(value, "__name__", None)
)
def test_without_a_guard_the_figure_fails(monkeypatch, module, name, replacement, figure, counts, counter):
    monkeypatch.setattr(module, name, replacement)
    result = figure(*counts)
    assert counter in result.zero
    assert result.counts[counter] > 0
    assert any(failure.startswith(counter) for failure in result.failures)


def test_crashes_and_hangs_are_counted_and_the_next_case_runs(monkeypatch):
    def case(number):
        if number == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        while number == 2:
            pass
        yield "done", ""

    monkeypatch.setattr(isolated, "SLOW", 0.1)
    figure = Figure("crashes", isolated.ERRORS, ("done",))
    isolated.isolated(figure, case, 5, "case {}".format)
    assert figure.counts == {"done": 3, "killed by a signal": 1, "hang over 2 s": 1}
    assert figure.failures == ["killed by a signal: 1, as case 1: SIGSEGV", "hang over 2 s: 1, as case 2: SIGPROF"]


def test_an_error_of_the_test_itself_is_raised():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        isolated.isolated(Figure("own", ()), lambda number: [(str(1 // number), "")], 1)
