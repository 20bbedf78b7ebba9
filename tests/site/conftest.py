"""Fixtures: a server of the built pages on loopback, and a browser that can reach nothing else."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browsing import SITE, emulate

BROWSER, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # needed by root in a container
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def base():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chrome():
    from selenium import webdriver

    if missing := [path for path in (BROWSER, DRIVER) if not Path(path).exists()]:
        pytest.fail(f"{missing[0]} is missing; install Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chrome, base):
    """The browser, 1280 px wide, in the light scheme.

    After the test it checks that no page logged an error or called another host.
    """
    chrome.get("about:blank")
    chrome.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": base.rstrip("/"), "storageTypes": "all"})
    emulate(chrome)
    read_logs(chrome)
    yield chrome
    messages, requests, failures = read_logs(chrome)
    assert not messages
    assert not failures
    assert all(url.startswith((base, "data:", "blob:", "about:")) for url in requests), requests


def read_logs(chrome):
    """Return the warnings and errors of the console, the requests and the failed requests since the last call."""
    messages = [entry["message"] for entry in chrome.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    requests, failures = [], []
    for entry in chrome.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        match message["method"], message["params"]:
            case "Network.requestWillBeSent", {"request": {"url": url}}:
                requests.append(url)
            case "Network.responseReceived", {"response": {"status": status, "url": url}} if status >= 400:
                failures.append((status, url))
            case "Network.loadingFailed", {"errorText": text, **rest} if not rest.get("canceled"):
                failures.append((text, message["params"]))
    return messages, requests, failures
