"""A fused model after a fork, in a spawned process, in eight threads, and after a KeyboardInterrupt."""

import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

import pytest
import torch
from convolutions import WINOGRAD
from helpers import distance, fill, noise

import inceptionzoo as iz
from inceptionzoo.inference import tuned

NETWORK = iz.network(
    stem=iz.Conv(8, 3),
    pool=iz.Pool("max", 3, 2),
    block=iz.inception(8, 8, 16, 4, 8, 8),
    norm=iz.Norm("lrn"),
    around=iz.Residual(iz.Conv(8, 3)),
)


def fused_model() -> iz.Net:
    model = iz.build(NETWORK, 3)
    model.reset_classifier(5)
    return iz.fuse(fill(model, noise(4, 3, 20, 20)))


def untuned_output(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    return tuned(copy.deepcopy(fast), False)(x)


def check_in_process(fast: iz.Net, x: torch.Tensor, y: torch.Tensor) -> None:
    """Exit with status 0 if the model gives y."""
    with torch.no_grad():
        sys.exit(not distance(fast(x), y) < WINOGRAD)


@torch.no_grad()
def test_a_spawned_process():
    fast, x = fused_model(), noise(2, 3, 20, 20)
    y = fast(x)
    process = multiprocessing.get_context("spawn").Process(target=check_in_process, args=(fast, x, y))
    process.start()
    process.join(300)
    assert process.exitcode == 0
    assert fast(x).equal(y)


FORK = """
import os, sys, torch, test_processes as test
torch.set_num_threads(1)
fast, x = test.fused_model(), test.noise(2, 3, 20, 20)
with torch.no_grad():
    y = fast(x)
    child = os.fork()
    right = test.distance(fast(x), y) < test.WINOGRAD
    right = right and test.distance(fast(x[:1]), y[:1]) < test.WINOGRAD  # another size: recorded in this process
    if not child:
        os._exit(not right)
    assert right
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_after_a_call():
    """On one thread: torch's own operations, too, hang in the child of a process that has run them on several threads."""
    folder = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


@torch.no_grad()
def test_eight_threads():
    """All results are right while the threads tune, record and run the same model, each with its own inputs."""
    fast = fused_model()
    inputs = [noise(1 + index % 3, 3, 20 + index % 2, 20, seed=index) for index in range(8)]
    expected, done = [untuned_output(fast, x) for x in inputs], []
    start = threading.Barrier(8)

    def work(x: torch.Tensor, y: torch.Tensor) -> None:
        start.wait()
        with torch.no_grad():
            results = [fast(x) for _ in range(4)]
        done.extend(distance(result, y) for result in results)  # after all calls: no call changes an earlier result

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert len(done) == 32
    assert max(done) < WINOGRAD


@torch.no_grad()
def test_copies_after_a_call():
    fast, x = fused_model(), noise(2, 3, 20, 20)
    y = fast(x)
    for other in (copy.copy(fast), copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert distance(other(x), y) < WINOGRAD
    copied = copy.deepcopy(fast)
    for parameter in copied.parameters():
        parameter.mul_(1.5)
    assert distance(copied(x), untuned_output(copied, x)) < WINOGRAD
    assert fast(x).equal(y)


@pytest.mark.filterwarnings(  # an interrupt in a destructor, and llvmlite's objects, whose __del__ fails after one in __init__
    "ignore:(?s).*(KeyboardInterrupt|llvmlite):pytest.PytestUnraisableExceptionWarning"
)
@torch.no_grad()
def test_keyboard_interrupts():
    """An interrupt at any time, in a call or while a program is recorded, leaves the model as it was."""
    fast, x, pick, interrupted, seconds = fused_model(), noise(2, 3, 20, 20), Random(0), 0, 1.0
    weight = fast.features.stem.conv.weight
    fast(x)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for index in range(400):
            weight.mul_(2 if index % 4 < 2 else 0.5)  # the next call records the program again
            expected = untuned_output(fast, x)
            start = time.perf_counter()
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + pick.random() * seconds)
                fast(x), fast(x)
                signal.setitimer(signal.ITIMER_REAL, 0)
                seconds = time.perf_counter() - start  # the next interrupts come within a round
            except KeyboardInterrupt:
                interrupted += 1
            assert distance(fast(x), expected) < WINOGRAD
            if interrupted == 20:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 20
    assert all(fast.features._programs.values())
    assert not fast.features._lock.locked()
