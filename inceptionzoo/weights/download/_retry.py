"""Try again, for as long as it is worth it."""

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
    """How long a download may take, in seconds: `read` without a byte, `total` in all; and how often it is tried.

    `pause` comes before the second attempt and doubles after; a server that sends less than `slowest` bytes a second for
    `read` seconds is given up as one that sends none.
    """

    read: float = 20.0
    total: float = 1800.0
    attempts: int = 6
    pause: float = 1.0
    slowest: float = 1024.0

    @classmethod
    def asked(cls) -> RetryPolicy:
        """Return the patience that the environment asks for: INCEPTIONZOO_DEADLINE is `total`.

        Raises:
            DownloadError: it is no number of seconds.
        """
        text = os.environ.get("INCEPTIONZOO_DEADLINE", "1800")
        if not re.fullmatch(r"\d{1,8}(\.\d*)?", text) or not float(text):
            raise DownloadError(f"INCEPTIONZOO_DEADLINE={text!r} must be a number of seconds above 0; unset it for 1800")
        return cls(total=float(text))


class TransientError(Exception):
    """What may go well the next time, after `wait` seconds where the server said so."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


def retry(what: str, patience: RetryPolicy, step: Callable[[float], T]) -> T:
    """Return what `step` returns; it is called again after each `TransientError`, with the moment by which it must end.

    Raises:
        DownloadError: the attempts or the time are used up.
    """
    until, pause = time.monotonic() + patience.total, patience.pause
    faults: list[str] = []
    for attempt in range(1, patience.attempts + 1):
        try:
            return step(until)
        except TransientError as fault:
            faults.append(str(fault))
            wait = max(pause, fault.wait)
        if time.monotonic() + wait >= until:
            faults.append(f"the {patience.total:g} s allowed are over (INCEPTIONZOO_DEADLINE)")
            break
        if attempt < patience.attempts:
            time.sleep(wait)
            pause *= 2
    reasons = "; ".join(dict.fromkeys(faults))
    raise DownloadError(f"{what} could not be fetched: {reasons}; try later, or fetch it yourself and name the file instead")


def call_with_timeout(seconds: float, call: Callable[[], T]) -> T:
    """Return what the call returns, if it does in time.

    Raises:
        TransientError: it does not; it is left to end by itself.
    """
    box: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((call(), None))
        except BaseException as error:
            box.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = box.get(timeout=max(0.0, seconds))
    except queue.Empty:
        raise TransientError(f"no answer in {seconds:.3g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # the call's own
