"""A server on loopback that serves files like download hosts and the Hugging Face Hub. It can simulate faults.

`HOST` is started once, before huggingface_hub reads HF_ENDPOINT (see conftest.py).
"""

import gzip
import hashlib
import os
import re
import threading
import time
from collections import deque
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
HTML = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"
STATUSES = ("500", "502", "503", "429", "408")
BODIES = {"LFS pointer": lambda body: POINTER, "HTML": lambda body: HTML, "empty": lambda body: b"", "gzip": gzip.compress}
FAULTS = (
    *STATUSES,
    *BODIES,
    "truncated",
    "long",
    "short",
    "flipped",
    "wrong etag",
    "no headers",
    "drop",
    "stalled",
    "slow",
    "loop",
)


@lru_cache(32)  # so that a request does not wait for the checksum of a large file
def git_sum(data: bytes) -> str:
    """Return the git blob hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@lru_cache(32)
def sha256_sum(data: bytes) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(data).hexdigest()


class Host:
    """Files by path, or by repository, revision and name. Each of the next requests fails with one of `faults`."""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.host = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.reset()

    def reset(self) -> None:
        """Forget all files, faults and requests."""
        self.files: dict[str, bytes] = {}
        self.faults: deque[str] = deque()
        self.always = ""
        self.requests: list[tuple[str, str, str]] = []  # method, path, range
        self.pause = 5.0  # seconds that a stalled response waits
        self.sent: dict[str, str] = {}  # headers that replace those of a response
        self.sent_after = 0  # the number of requests before `sent` is used

    def put(self, path: str, data: bytes) -> None:
        """Serve `data` at a path of a plain host."""
        self.files[path] = data

    def put_repo(self, repo: str, files: dict[str, bytes], *revisions: str) -> None:
        """Serve files of a Hub repository at these revisions and at its commit."""
        for name, data in files.items():
            sha256_sum(data)
            for revision in ("main", COMMIT, *revisions):
                self.files[f"/{repo}/resolve/{revision}/{name}"] = data

    def count(self, method: str = "GET") -> int:
        """Return the number of requests of a method."""
        return sum(request[0] == method for request in self.requests)


class Handler(BaseHTTPRequestHandler):
    """One request: the file with the headers of its kind of host, or the next fault."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        host: Host = self.server.host  # type: ignore[attr-defined]
        host.requests.append((self.command, self.path, self.headers.get("Range", "")))
        fault = host.faults.popleft() if host.faults else host.always
        data = host.files.get(self.path)
        self.close_connection = bool(fault)
        if fault == "drop":
            return
        if data is None or fault in ("404", "416", *STATUSES):
            self.reply(int(fault) if fault.isdecimal() else 404, b"", {"X-Error-Code": "EntryNotFound"} if data is None else {})
        elif fault == "loop":
            self.reply(302, b"", {"Location": host.url + self.path})
        else:
            self.serve(data, fault, body)

    def headers_of(self, data: bytes, fault: str) -> dict[str, str]:
        found = RESOLVE.fullmatch(self.path)
        large = self.path.endswith(".safetensors")
        etag = sha256_sum(data) if large or not found else git_sum(data)
        etag = etag[::-1] if fault == "wrong etag" else etag
        if fault == "no headers":
            return {}
        hub = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(data))} if found else {}
        host: Host = self.server.host  # type: ignore[attr-defined]
        return {"ETag": f'"{etag}"', **hub, **(host.sent if len(host.requests) > host.sent_after else {})}

    def serve(self, data: bytes, fault: str, body: bool) -> None:
        headers, status, sent = self.headers_of(data, fault), 200, BODIES.get(fault, lambda same: same)(data)
        if fault == "gzip":
            headers["Content-Encoding"] = "gzip"
        if fault == "flipped":
            sent = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :]
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, status = int(found[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            sent = sent[start:]
        length = len(sent) + {"long": -5, "short": 5}.get(fault, 0)  # more bytes, or fewer, than are announced
        headers |= {} if fault == "no headers" else {"Content-Length": str(length)}
        self.reply(status, sent if body else b"", headers, fault)

    def reply(self, status: int, sent: bytes, headers: dict[str, str], fault: str = "") -> None:
        self.send_response_only(status)
        if fault != "no headers":
            headers.setdefault("Content-Length", "0")
        for key, value in headers.items():
            self.send_header(key, value)
        if fault == "no headers":
            self.close_connection = True
        self.end_headers()
        half = len(sent) // 2
        try:
            if fault == "truncated":
                self.wfile.write(sent[:half])
            elif fault == "stalled":
                self.wfile.write(sent[:half])
                self.wfile.flush()
                time.sleep(self.server.host.pause)  # type: ignore[attr-defined]
            elif fault == "slow":
                for at in range(0, min(len(sent), 200), 1):
                    self.wfile.write(sent[at : at + 1])
                    self.wfile.flush()
                    time.sleep(self.server.host.pause / 50)  # type: ignore[attr-defined]
            else:
                self.wfile.write(sent)
        except OSError:
            self.close_connection = True


HOST = Host()
os.environ |= {"HF_ENDPOINT": HOST.url, "INCEPTIONZOO_MIRROR": HOST.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
os.environ.pop("HF_HUB_OFFLINE", None)
