"""A small run of the figure of fused networks, and a test that each of its counters can count."""

import fused

SCRIPT = """
import argparse, faulthandler, os, signal, sys
parser = argparse.ArgumentParser()
for name in ("seed", "count", "width"):
    parser.add_argument("--" + name, type=int)
options, failed = parser.parse_args(), False
for number in range(options.seed, options.seed + options.count):
    print("case", number, flush=True)
    if number == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 3:
        sys.exit("Timeout (0:01:00)!")
    if number in (2, 4):
        print("fault", number, "wrong", flush=True)
        failed = True
sys.exit(failed)
"""


def test_random_networks():
    figure = fused.random_networks(4)
    assert figure.failures == []
    assert figure.counts == {"right": 4}


def test_every_counter_can_count(tmp_path, monkeypatch):
    (tmp_path / "fuzz.py").write_text(SCRIPT)
    monkeypatch.setattr(fused, "FUZZ", tmp_path / "fuzz.py")
    figure = fused.random_networks(7)
    assert figure.counts == {"right": 3, "crash": 1, "wrong by more than 1e-4": 2, "hang": 1}
    assert len(figure.failures) == 3


def test_networks_are_divided_among_processes(tmp_path, monkeypatch):
    (tmp_path / "fuzz.py").write_text(SCRIPT)
    monkeypatch.setattr(fused, "FUZZ", tmp_path / "fuzz.py")
    monkeypatch.setattr(fused, "NETWORKS", 2)
    assert fused.random_networks(7).counts == {"right": 3, "crash": 1, "wrong by more than 1e-4": 2, "hang": 1}
