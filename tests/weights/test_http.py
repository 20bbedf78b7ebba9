"""Downloads over HTTP: the right bytes or an error, whatever the host does; a failed download leaves no file."""

import hashlib
import time
from pathlib import Path

import pytest
from server import FAULTS

import inceptionzoo as iz
from inceptionzoo.weights import Checksum
from inceptionzoo.weights.download._http import download, open_url
from inceptionzoo.weights.download._retry import RetryPolicy, TransientError, call_with_timeout, retry

DATA = bytes(range(256)) * 4000


@pytest.fixture
def get(host, tmp_path):
    host.put("/file.bin", DATA)
    check = Checksum("sha256", hashlib.sha256(DATA).hexdigest()[:8]).check_file

    def run(**options: object) -> Path:
        download(f"{host.url}/file.bin", tmp_path / "got", check, **options)
        return tmp_path / "got"

    return run


def test_a_file_is_downloaded(get, host):
    assert get().read_bytes() == DATA
    assert host.count() == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_single_fault_is_retried(get, host, fault):
    host.faults.extend([fault] * (6 if fault == "loop" else 1))
    assert get().read_bytes() == DATA
    harmless = ("wrong etag", "no headers", "long") if fault != "long" else ()
    assert host.count() > (0 if fault in harmless else 1)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("wrong etag", "no headers", "short")])
def test_a_lasting_fault_is_an_error_and_leaves_no_file(get, host, tmp_path, fault):
    host.always, host.pause = fault, 3.0
    with pytest.raises(iz.DownloadError, match=r"file\.bin could not be downloaded: .*; try later, or download it yourself"):
        get(policy=RetryPolicy(read=0.3, total=2.0, attempts=3, pause=0.01))
    assert not (tmp_path / "got").exists()


def test_a_server_that_never_answers_is_given_up_at_the_deadline(get, host):
    """The server does not answer before the test ends: only the deadline can end the download."""
    host.always, host.pause = "stalled", 600.0
    with pytest.raises(iz.DownloadError, match=r"the connection broke|no answer|no attempt was left within 0\.5 s"):
        get(policy=RetryPolicy(read=0.2, total=0.5, attempts=99, pause=0.01))


def test_a_broken_download_is_resumed(get, host):
    host.faults.extend(["truncated", "truncated"])
    assert get().read_bytes() == DATA
    ranges = [request[2] for request in host.requests]
    assert ranges == ["", f"bytes={len(DATA) // 2}-", f"bytes={len(DATA) * 3 // 4}-"]


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"'])
def test_only_the_same_bytes_are_resumed(get, host, monkeypatch, etag):
    """The host may have another file by then. A weak ETag does not say that the bytes are the same."""
    conditions, plain = [], host.server.RequestHandlerClass.answer

    def answer(self: object, *, body: bool) -> None:
        conditions.append((self.headers.get("Range"), self.headers.get("If-Range")))
        plain(self, body=body)

    monkeypatch.setattr(host.server.RequestHandlerClass, "answer", answer)
    host.sent = {"ETag": etag}
    host.faults.append("truncated")
    assert get().read_bytes() == DATA
    assert conditions == [(None, None), (None, None) if etag.startswith("W/") else (f"bytes={len(DATA) // 2}-", etag)]


def test_a_download_that_cannot_be_resumed_starts_again(get, host):
    host.faults.extend(["truncated", "416"])
    assert get().read_bytes() == DATA
    assert [request[2] for request in host.requests] == ["", f"bytes={len(DATA) // 2}-", ""]


def test_a_redirect_within_a_host_keeps_the_login(host, monkeypatch):
    """The Hub redirects small files to another path of its own."""
    seen, plain = {}, host.server.RequestHandlerClass.answer
    host.put("/there", b"data")

    def answer(self: object, *, body: bool) -> None:
        seen[self.path] = self.headers.get("Authorization")
        if self.path == "/here":
            self.reply(307, b"", {"Location": "/there"})
        else:
            plain(self, body=body)

    monkeypatch.setattr(host.server.RequestHandlerClass, "answer", answer)
    with open_url(f"{host.url}/here", {"Authorization": "Bearer secret"}, 5.0) as got:
        assert got.read() == b"data"
    assert seen == {"/here": "Bearer secret", "/there": "Bearer secret"}


def test_a_refusal_is_not_retried(get, host):
    host.always = "404"
    with pytest.raises(iz.errors.RefusedError, match="404, there is no such file; or download it yourself and pass its path"):
        get()
    assert host.count() == 1


def test_only_http_and_https_urls_are_opened(tmp_path):
    (tmp_path / "secret").write_text("secret")
    for url in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/secret", "secret"):
        with pytest.raises(iz.DownloadError, match="must start with https://"):
            open_url(url, {}, 1.0)


def test_a_redirect_to_another_host_drops_the_login(host, monkeypatch):
    seen = {}
    other = type(host)()
    other.put("/there", b"data")
    handler = other.server.RequestHandlerClass
    plain = handler.answer

    def answer(self: object, *, body: bool) -> None:
        seen[self.path] = self.headers.get("Authorization")
        if self.path == "/here":
            self.reply(302, b"", {"Location": f"{other.url}/there"})
        else:
            plain(self, body=body)

    monkeypatch.setattr(handler, "answer", answer)
    with open_url(f"{host.url}/here", {"Authorization": "Bearer secret"}, 5.0) as got:
        assert got.read() == b"data"
    assert seen == {"/here": "Bearer secret", "/there": None}
    other.server.shutdown()
    other.server.server_close()


def test_the_deadline_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("INCEPTIONZOO_DEADLINE", "12.5")
    assert RetryPolicy.from_environment().total == 12.5
    for text in ("0", "-1", "soon", "nan", ""):
        monkeypatch.setenv("INCEPTIONZOO_DEADLINE", text)
        with pytest.raises(iz.DownloadError, match=f"INCEPTIONZOO_DEADLINE='{text}' must be a number of seconds"):
            RetryPolicy.from_environment()


def test_the_error_lists_the_fault_of_each_attempt():
    faults = iter(["first", "second", "second"])

    def attempt(deadline: float) -> None:
        raise TransientError(next(faults))

    with pytest.raises(iz.DownloadError, match="the thing could not be downloaded: first; second; try later"):
        retry("the thing", RetryPolicy(attempts=3, pause=0.0), attempt)


def test_no_attempt_starts_after_the_deadline():
    calls = []

    def attempt(deadline: float) -> None:
        calls.append(deadline)
        raise TransientError("busy", wait=99.0)

    with pytest.raises(iz.DownloadError, match=r"busy; no attempt was left within 5 s \(INCEPTIONZOO_DEADLINE\)"):
        retry("the thing", RetryPolicy(total=5.0, attempts=9), attempt)
    assert len(calls) == 1


def test_a_call_is_given_up_at_its_timeout():
    with pytest.raises(TransientError, match=r"no answer in 0\.05 s"):
        call_with_timeout(0.05, lambda: time.sleep(2))
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(5.0, lambda: 1 / 0)
