"""Retries with a deadline."""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...errors import DownloadError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a download is tried, and for how long.

    All times are in seconds. An attempt is given up after `read` seconds without a byte, or after `read` seconds of less
    than `slowest` bytes per second. `total` is the time for all attempts. `pause` is the time before the second attempt; it
    doubles before each further attempt.
    """

    read: float = 20.0
    total: float = 1800.0
    attempts: int = 6
    pause: float = 1.0
    slowest: float = 1024.0

    @classmethod
    def from_environment(cls) -> RetryPolicy:
        """Return the default policy, with INCEPTIONZOO_DEADLINE as `total`.

        Raises:
            DownloadError: INCEPTIONZOO_DEADLINE is not a positive number.
        """
        text = os.environ.get("INCEPTIONZOO_DEADLINE", "1800")
        if not re.fullmatch(r"\d{1,8}(\.\d*)?", text) or not float(text):
            raise DownloadError(f"INCEPTIONZOO_DEADLINE={text!r} must be a number of seconds above 0; unset it for 1800")
        return cls(total=float(text))


class TransientError(Exception):
    """An error that may not occur at the next attempt; `wait` is the pause in seconds that the server asks for."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


def retry(name: str, policy: RetryPolicy, attempt: Callable[[float], T]) -> T:
    """Return what `attempt(deadline)` returns; it is called again after each `TransientError`.

    `deadline` is a value of `time.monotonic()`. `name` tells, in the error, what is downloaded.

    Raises:
        DownloadError: all attempts failed, or the time is up.
    """
    deadline, pause = time.monotonic() + policy.total, policy.pause
    faults: list[str] = []
    for number in range(1, policy.attempts + 1):
        try:
            return attempt(deadline)
        except TransientError as error:
            faults.append(str(error))
            wait = max(pause, error.wait)
        if time.monotonic() + wait >= deadline:
            faults.append(f"no attempt was left within {policy.total:g} s (INCEPTIONZOO_DEADLINE)")
            break
        if number < policy.attempts:
            time.sleep(wait)
            pause *= 2
    reasons = "; ".join(dict.fromkeys(faults))
    raise DownloadError(f"{name} could not be downloaded: {reasons}; try later, or download it yourself and pass its path")


def call_with_timeout(seconds: float, call: Callable[[], T]) -> T:
    """Return `call()`, which runs in a thread.

    Raises:
        TransientError: it takes longer than `seconds`; the thread is not stopped.
    """
    results: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = results.get(timeout=max(0.0, seconds))
    except queue.Empty:
        raise TransientError(f"no answer in {seconds:.3g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # it is a T, as there was no error
