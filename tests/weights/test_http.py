"""Downloads: the right bytes or an error, whatever the host does; nothing is left of what failed."""

import time
from pathlib import Path

import pytest
from server import FAULTS

import inceptionzoo as iz
from inceptionzoo.weights.download._cache import digest_checker
from inceptionzoo.weights.download._http import download, open_url
from inceptionzoo.weights.download._retry import RetryPolicy, TransientError, call_with_timeout, retry

DATA = bytes(range(256)) * 4000


@pytest.fixture
def get(host, tmp_path):
    import hashlib

    host.put("/file.bin", DATA)
    check = digest_checker("sha256", hashlib.sha256(DATA).hexdigest()[:8])

    def run(**options: object) -> Path:
        download(f"{host.url}/file.bin", tmp_path / "got", check, **options)
        return tmp_path / "got"

    return run


def test_a_file_comes_whole(get, host):
    assert get().read_bytes() == DATA
    assert host.count() == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_outlived(get, host, fault):
    host.faults.extend([fault] * (6 if fault == "loop" else 1))
    assert get().read_bytes() == DATA
    harmless = ("wrong etag", "no headers", "long") if fault != "long" else ()
    assert host.count() > (0 if fault in harmless else 1)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("wrong etag", "no headers", "short")])
def test_a_lasting_fault_is_an_error_in_time_and_leaves_nothing(get, host, tmp_path, fault):
    host.always, host.pause = fault, 3.0
    start = time.monotonic()
    with pytest.raises(iz.DownloadError, match=r"file\.bin could not be fetched: .*; try later, or fetch it yourself"):
        get(patience=RetryPolicy(read=0.3, total=2.0, attempts=3, pause=0.01))
    assert time.monotonic() - start < 60  # a deadline, not a figure: 2 s are allowed
    assert not (tmp_path / "got").exists()


def test_what_was_cut_short_goes_on_where_it_ended(get, host):
    host.faults.extend(["truncated", "truncated"])
    assert get().read_bytes() == DATA
    ranges = [request[2] for request in host.requests]
    assert ranges == ["", f"bytes={len(DATA) // 2}-", f"bytes={len(DATA) * 3 // 4}-"]


def test_a_server_that_cannot_go_on_is_asked_for_the_whole(get, host):
    host.faults.extend(["truncated", "416"])
    assert get().read_bytes() == DATA
    assert [request[2] for request in host.requests] == ["", f"bytes={len(DATA) // 2}-", ""]


def test_a_login_goes_on_within_its_host(host, monkeypatch):
    """The Hub sends small files on to another path of its own."""
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


@pytest.mark.parametrize("status", ["404"])
def test_a_refusal_is_not_tried_again(get, host, status):
    host.always = status
    with pytest.raises(iz.errors.RefusedError, match="404, there is no such file; or fetch it yourself"):
        get()
    assert host.count() == 1


def test_only_http(tmp_path):
    (tmp_path / "secret").write_text("secret")
    for url in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/secret", "secret"):
        with pytest.raises(iz.DownloadError, match="must start with https://"):
            open_url(url, {}, 1.0)


def test_a_login_stays_with_its_host(host, monkeypatch):
    """A redirect to another host does not carry it on."""
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


def test_patience_is_asked_of_the_environment(monkeypatch):
    monkeypatch.setenv("INCEPTIONZOO_DEADLINE", "12.5")
    assert RetryPolicy.asked().total == 12.5
    for text in ("0", "-1", "soon", "nan", ""):
        monkeypatch.setenv("INCEPTIONZOO_DEADLINE", text)
        with pytest.raises(iz.DownloadError, match=f"INCEPTIONZOO_DEADLINE='{text}' must be a number of seconds"):
            RetryPolicy.asked()


def test_the_last_attempt_says_all_that_went_wrong():
    faults = iter(["first", "second", "second"])

    def step(until: float) -> None:
        raise TransientError(next(faults))

    with pytest.raises(iz.DownloadError, match="the thing could not be fetched: first; second; try later"):
        retry("the thing", RetryPolicy(attempts=3, pause=0.0), step)


def test_no_attempt_starts_after_the_deadline():
    calls = []

    def step(until: float) -> None:
        calls.append(until)
        raise TransientError("busy", wait=99.0)

    with pytest.raises(iz.DownloadError, match=r"busy; the 5 s allowed are over \(INCEPTIONZOO_DEADLINE\)"):
        retry("the thing", RetryPolicy(total=5.0, attempts=9), step)
    assert len(calls) == 1


def test_a_call_that_does_not_end_is_left():
    with pytest.raises(TransientError, match=r"no answer in 0\.05 s"):
        call_with_timeout(0.05, lambda: time.sleep(2))
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(5.0, lambda: 1 / 0)
