"""Download a file: every byte checked, every fault of a moment outlived, every call under a deadline."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from ...errors import DownloadError, FileError, RefusedError
from ._retry import RetryPolicy, TransientError, call_with_timeout, retry

REFUSALS = {  # answers that another try does not change
    401: "a login is asked for; set HF_TOKEN",
    403: "access is refused; ask its owner for it",
    404: "there is no such file",
    405: "the server does not serve it",
    410: "it is there no more",
}
CHUNK = 1 << 20


def download(
    url: str,
    path: Path,
    check: Callable[[Path], None],
    *,
    headers: Mapping[str, str] | None = None,
    patience: RetryPolicy | None = None,
) -> None:
    """Download `url` to `path`, which nobody reads before this returns, and which is gone where it does not.

    `check` is given the path once all bytes are there, and raises FileError where they are the wrong ones: then the
    download starts anew. One that was cut short goes on where it ended, where the server can.

    Raises:
        DownloadError: the server refuses for good, or no attempt gave the right bytes in time.
        OSError: the disk refuses.
    """
    patience = patience or RetryPolicy.asked()
    download = _Download(url, path, dict(headers or {}), patience)

    def step(until: float) -> None:
        download.receive(until)
        try:
            check(path)
        except FileError as error:
            path.unlink()
            raise TransientError(str(error)) from error

    try:
        retry(url, patience, step)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@dataclass(slots=True)
class _Download:
    """A file that is on its way; `tag` is the server's name of its bytes, where it has one to go on by."""

    url: str
    path: Path
    headers: dict[str, str]
    patience: RetryPolicy
    tag: str = ""

    def receive(self, until: float) -> None:
        """Fetch what is missing of the file.

        Raises:
            TransientError: not all of it came.
            DownloadError: none of it will.
        """
        have = self.path.stat().st_size if self.tag and self.path.exists() else 0
        more = {"Range": f"bytes={have}-", "If-Range": self.tag} if have else {}
        self.tag = ""  # where the server cannot go on, the next attempt starts anew
        with open_url(self.url, self.headers | more, min(self.patience.read, until - time.monotonic())) as answer:
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise TransientError("the server compressed it")
            start, total = _extent(answer, have)
            tag = answer.headers.get("ETag", "")
            self.tag = "" if tag.startswith("W/") else tag
            with open(self.path, "ab" if start else "wb") as stream, self._bar(start, total) as bar:
                for piece in self._pieces(answer, until):
                    stream.write(piece)
                    bar.update(len(piece))
        if total is not None and self.path.stat().st_size != total:
            raise TransientError(f"cut short: {self.path.stat().st_size} of {total} bytes")

    def _pieces(self, answer: Any, until: float) -> Iterator[bytes]:
        """Yield the body as it comes, as long as it comes fast enough."""
        mark, since = time.monotonic(), 0
        while True:
            try:
                piece = answer.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise TransientError(f"broken off: {error or type(error).__name__}") from error
            if not piece:
                return
            yield piece
            now, since = time.monotonic(), since + len(piece)
            if now >= until:
                raise TransientError("it took too long")
            if now - mark > self.patience.read:
                if since < self.patience.slowest * (now - mark):
                    raise TransientError(f"{since / (now - mark):.0f} bytes a second are too slow")
                mark, since = now, 0

    def _bar(self, start: int, total: int | None) -> tqdm[Any]:
        """Return a progress bar, silent where nobody watches a terminal."""
        name = self.url.rpartition("/")[2][:40]
        return tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, leave=False, disable=None)


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """Return the byte at which an answer starts, and how many the whole file has, where that is said."""
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if not found or int(found[1]) != have:
            raise TransientError("the server went on at another byte")
        return have, int(found[2])
    if answer.status != 200:
        raise TransientError(f"status {answer.status}")
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Goes where it is sent, but never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise TransientError(f"sent on from https to {newurl[:60]!r}")
        onward = super().redirect_request(req, fp, code, msg, headers, newurl)
        login = req.unredirected_hdrs.get("Authorization")
        if onward is not None and login and urlsplit(newurl)[:2] == urlsplit(req.full_url)[:2]:
            onward.add_unredirected_header("Authorization", login)  # to the host that asked for it, and to no other
        return onward


def open_url(url: str, headers: Mapping[str, str], seconds: float) -> Any:
    """Return the answer of a server, whose body is to be read.

    Raises:
        TransientError: it does not answer in time, or not well.
        RefusedError: it says that it never will.
    """
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url!r} must start with https://")
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "inceptionzoo"})
    for key, value in headers.items():  # a login stays with the host that asked for it
        (request.add_unredirected_header if key.lower() == "authorization" else request.add_header)(key, value)
    opener = urllib.request.OpenerDirector()  # http and https alone: no file:, no ftp:
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirect(),
    ):
        opener.add_handler(handler)
    try:
        answer = call_with_timeout(seconds, lambda: opener.open(request, timeout=max(0.1, seconds)))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in REFUSALS:
            raise RefusedError(
                f"{url}: {error.code}, {REFUSALS[error.code]}; or fetch it yourself and name the file instead"
            ) from error
        wait = error.headers.get("Retry-After", "")
        raise TransientError(f"status {error.code}", float(wait) if wait.isdecimal() else 0.0) from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError
        raise TransientError(f"no answer: {error}") from error
    if answer is None:
        raise TransientError("no answer")
    return answer
