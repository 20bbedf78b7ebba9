"""Run cases in a child process that may be killed, and detect any change to a model."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from figure import Figure
from small import MEMORY_DISK
from torch import Tensor, nn

ERRORS = ("killed by a signal", "hang over 2 s")  # counted by `isolated`; must be 0
SLOW, STUCK = 2.0, 60.0  # limits of one case in seconds: processor time, wall-clock time
MEMORY = 2 << 30  # bytes that a child may allocate

Found = Iterable[tuple[str, object]]  # (counter, example)


def isolated(figure: Figure, case: Callable[[int], Found], count: int, label: Callable[[int], str] = str) -> None:
    """Call `case(0)` to `case(count - 1)` in a child process and count what each finds.

    A case that kills the child or takes too long is counted with its label, and the next case runs in a new child.
    """
    done = 0
    with tempfile.NamedTemporaryFile(dir=MEMORY_DISK) as log:
        while done < count:
            died = wait(fork(lambda start=done: work(case, range(start, count), log.name)))
            done += collect(figure, log)
            if died:
                figure.add(ERRORS[died in (signal.SIGPROF, signal.SIGALRM)], f"{label(done)}: {signal.Signals(died).name}")
                done += 1


def collect(figure: Figure, log: Iterable[bytes]) -> int:
    """Count the results in the new lines of `work`; return the number of cases.

    Raises:
        RuntimeError: a case raised an exception, which is an error of the test.
    """
    done = 0
    for line in log:
        found = json.loads(line)
        if isinstance(found, str):
            raise RuntimeError(f"the test's own code failed: {found}")
        done += 1
        for key, example in found:
            figure.add(key, example)
    return done


def work(case: Callable[[int], Found], numbers: range, log: str | Path) -> None:
    """Run the cases and write a line for each: what it found, or the traceback of an error in the test itself."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    lines = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, SLOW)  # not handled, so that they end the process even in C code
        signal.setitimer(signal.ITIMER_REAL, STUCK)
        try:
            found: object = [(key, str(example)) for key, example in case(number)]
        except BaseException:
            found = traceback.format_exc()
        os.write(lines, json.dumps(found).encode() + b"\n")
        if isinstance(found, str):
            return


def fork(work: Callable[[], object]) -> int:
    """Return the id of a child process that runs `work()`; its exit status is 1 after an exception."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Python 3.12 warns of a fork in a process with threads; the child starts none
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        faulthandler.disable()  # the parent reports
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(
            1, signal.SIGKILL
        )  # PR_SET_PDEATHSIG: it is killed when its parent ends
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child: int) -> int:
    """Return the signal that ended the child, or 0.

    Raises:
        RuntimeError: it ended by an exception.
    """
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise RuntimeError("the child ended by an exception; see its output")
    return 0


class Watch:
    """Detects any change to a model: its tensors are moved into one block of memory, `bits`."""

    def __init__(self, model: nn.Module) -> None:
        parts = [part for module in model.modules() for part in (module._parameters, module._buffers, module._modules)]
        self.slots = [(part, key, value) for part in parts for key, value in part.items()]
        tensors = [value for *_, value in self.slots if isinstance(value, Tensor)]
        self.block = torch.zeros(sum(-(-tensor.nbytes // 16) * 16 for tensor in tensors), dtype=torch.uint8)
        start = 0
        for tensor in tensors:
            place = self.block[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            tensor.data = place.copy_(tensor.data)
            start += -(-tensor.nbytes // 16) * 16
        self.places = [(tensor, tensor.data_ptr()) for tensor in tensors]

    @property
    def bits(self) -> bytes:
        """Every byte of every tensor."""
        return self.block.numpy().tobytes()

    @bits.setter
    def bits(self, data: bytes) -> None:
        self.block.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))

    @property
    def in_place(self) -> bool:
        """Whether the model still consists of the same modules and tensors, in the same memory."""
        same = all(part.get(key) is value for part, key, value in self.slots)
        return same and all(tensor.data_ptr() == place for tensor, place in self.places)


def same_bits(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """Return whether two state dicts hold the same names, dtypes, shapes and bits, NaN and -0.0 included."""
    return ours.keys() == theirs.keys() and all(_bits(value) == _bits(theirs[key]) for key, value in ours.items())


def _bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    plain = tensor.detach().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor
    return tensor.dtype, tensor.shape, plain.numpy().tobytes()
