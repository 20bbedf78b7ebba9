"""Download one file over HTTP: resume, retry and check, within a deadline."""

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

REFUSALS = {  # status codes that another attempt does not change
    401: "a login is needed; set HF_TOKEN",
    403: "access is denied; ask the owner for it",
    404: "there is no such file",
    405: "the server does not serve it",
    410: "it was removed",
}
CHUNK = 1 << 20


def download(
    url: str,
    path: Path,
    check: Callable[[Path], None],
    *,
    headers: Mapping[str, str] | None = None,
    policy: RetryPolicy | None = None,
) -> None:
    """Download `url` to `path`; after an error there is no file at `path`.

    `check(path)` is called when all bytes have arrived. If it raises FileError, the file is downloaded again from the start.
    After a broken connection the download resumes at the byte where it broke, if the server supports that.

    Raises:
        DownloadError: the server refuses, or no attempt got the right bytes in time.
        OSError: the file cannot be written.
    """
    policy = policy or RetryPolicy.from_environment()
    transfer = _Transfer(url, path, dict(headers or {}), policy)

    def attempt(deadline: float) -> None:
        transfer.receive(deadline)
        try:
            check(path)
        except FileError as error:
            path.unlink()
            raise TransientError(str(error)) from error

    try:
        retry(url, policy, attempt)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@dataclass(slots=True)
class _Transfer:
    """A download in progress; `etag` identifies the bytes received so far; it is "" if the download cannot be resumed."""

    url: str
    path: Path
    headers: dict[str, str]
    policy: RetryPolicy
    etag: str = ""

    def receive(self, deadline: float) -> None:
        """Receive the bytes that are still missing.

        Raises:
            TransientError: some bytes are still missing.
            DownloadError: the server refuses.
        """
        size = self.path.stat().st_size if self.etag and self.path.exists() else 0
        resume = {"Range": f"bytes={size}-", "If-Range": self.etag} if size else {}
        self.etag = ""  # if resuming fails, the next attempt starts at byte 0
        with open_url(self.url, self.headers | resume, min(self.policy.read, deadline - time.monotonic())) as response:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise TransientError("the server compressed it")
            start, total = _content_range(response, size)
            etag = response.headers.get("ETag", "")
            self.etag = "" if etag.startswith("W/") else etag
            with open(self.path, "ab" if start else "wb") as stream, self._progress_bar(start, total) as bar:
                for chunk in self._chunks(response, deadline):
                    stream.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self.path.stat().st_size != total:
            raise TransientError(f"cut short: {self.path.stat().st_size} of {total} bytes")

    def _chunks(self, response: Any, deadline: float) -> Iterator[bytes]:
        """Yield the body in chunks, as long as it comes fast enough."""
        start, received = time.monotonic(), 0  # of the current interval of `policy.read` seconds
        while True:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise TransientError(f"the connection broke: {error or type(error).__name__}") from error
            if not chunk:
                return
            yield chunk
            now, received = time.monotonic(), received + len(chunk)
            if now >= deadline:
                raise TransientError("it took too long")
            if now - start > self.policy.read:
                if received < self.policy.slowest * (now - start):
                    raise TransientError(f"{received / (now - start):.0f} bytes per second are too slow")
                start, received = now, 0

    def _progress_bar(self, start: int, total: int | None) -> tqdm[Any]:
        """Return a progress bar that shows itself on a terminal only."""
        name = self.url.rpartition("/")[2][:40]
        return tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, leave=False, disable=None)


def _content_range(response: Any, size: int) -> tuple[int, int | None]:
    """Return the first byte that a response holds, and the file's length if the server tells it."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != size:
            raise TransientError("the server resumed at another byte")
        return size, int(match[2])
    if response.status != 200:
        raise TransientError(f"status {response.status}")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise TransientError(f"redirected from https to {newurl[:60]!r}")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        login = req.unredirected_hdrs.get("Authorization")
        if request is not None and login and urlsplit(newurl)[:2] == urlsplit(req.full_url)[:2]:
            request.add_unredirected_header("Authorization", login)  # only if the host stays the same
        return request


def open_url(url: str, headers: Mapping[str, str], seconds: float) -> Any:
    """Return a server's response, whose body has not been read.

    Raises:
        TransientError: there is no response within `seconds`, or its status may be another at the next attempt.
        RefusedError: the status is one of `REFUSALS`.
        DownloadError: the URL is not http or https.
    """
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url!r} must start with https://")
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "inceptionzoo"})
    for key, value in headers.items():  # a login is not sent on to other hosts
        (request.add_unredirected_header if key.lower() == "authorization" else request.add_header)(key, value)
    opener = urllib.request.OpenerDirector()  # http and https only: no file:, no ftp:
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
        response = call_with_timeout(seconds, lambda: opener.open(request, timeout=max(0.1, seconds)))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in REFUSALS:
            raise RefusedError(
                f"{url}: {error.code}, {REFUSALS[error.code]}; or download it yourself and pass its path"
            ) from error
        wait = error.headers.get("Retry-After", "")
        raise TransientError(f"status {error.code}", float(wait) if wait.isdecimal() else 0.0) from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError
        raise TransientError(f"no response: {error}") from error
    if response is None:
        raise TransientError("no response")
    return response
