"""Figures of downloads: faults of a host, damaged caches, hostile names, wrong config.json files."""

import contextlib
import json
import random
import string
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import server
from figure import Figure
from small import registered, shaken, tiny_network

import inceptionzoo as iz
from inceptionzoo.weights._hub_config import read_config
from inceptionzoo.weights.download._hub import CONFIG, WEIGHTS, open_repository
from inceptionzoo.weights.download._retry import RetryPolicy

POLICY = RetryPolicy(read=0.5, total=15.0, attempts=4, pause=0.005)
DEADLINE = 4 * POLICY.total  # of a call: two checksums and two files, each with its own policy
REPO, REFERENCE = "owner/tiny", "hf-hub:owner/tiny"
CACHE_FAULTS = ("flip", "cut", "empty", "more", "link gone", "blob gone", "both gone")


@contextlib.contextmanager
def loopback() -> Iterator[tuple[iz.Net, Path]]:
    """Yield the model of the repository "owner/tiny" on the host, and a folder; downloads have short timeouts."""
    server.HOST.reset()
    server.HOST.pause = 1.0
    with registered("tiny", tiny_network, num_classes=3, input_size=(3, 8, 8)), tempfile.TemporaryDirectory() as folder:
        model = shaken(iz.create_model("tiny"), 0)
        iz.save_pretrained(model, Path(folder) / "out")
        server.HOST.put_repo(REPO, {path.name: path.read_bytes() for path in (Path(folder) / "out").iterdir()})
        iz.create_model(REFERENCE, cache_dir=Path(folder) / "first")  # creates the HTTP client, for which POLICY has no time
        with mock.patch.object(RetryPolicy, "from_environment", return_value=POLICY), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield model, Path(folder)
    server.HOST.reset()


def attempt(figure: Figure, model: iz.Net, cache: Path, what: str, *, single: bool) -> None:
    """Load the model through the Hub, and count the outcome."""
    start = time.monotonic()
    try:
        got = iz.create_model(REFERENCE, cache_dir=cache).state_dict()
        right = all(value.equal(got[key]) for key, value in model.state_dict().items())
        figure.add("right" if right else "wrong bytes accepted", what)
    except iz.ZooError as error:
        figure.add("single fault not recovered" if single else "refused in words", f"{what}: {error}")
    except Exception as error:
        figure.add("other error", f"{what}: {type(error).__name__}: {error}")
    if time.monotonic() - start > DEADLINE:
        figure.add("over the deadline", what)


def host_faults(kinds: tuple[str, ...] = server.FAULTS, places: range = range(5)) -> Figure:
    """Count each fault of a host: once at each request of a load, and at all requests; with and without cached files.

    The requests are HEAD for the commit, then HEAD and GET of each file.
    """
    zero = ("wrong bytes accepted", "single fault not recovered", "other error", "over the deadline")
    figure = Figure("5 hub faults", zero, ("right", "refused in words"))
    with loopback() as (model, folder):
        for number, (kind, place) in enumerate((kind, place) for kind in kinds for place in places):
            server.HOST.faults.clear()
            server.HOST.faults.extend([""] * place + [kind] * (6 if kind == "loop" and place in (2, 4) else 1))
            attempt(figure, model, folder / f"cold{number}", f"{kind} at request {place}", single=True)
        for number, kind in enumerate(kinds):
            server.HOST.faults.clear()
            attempt(figure, model, folder / f"warm{number}", "a warm cache", single=True)
            server.HOST.always = kind
            attempt(figure, model, folder / f"warm{number}", f"{kind} for good, warm", single=False)
            attempt(figure, model, folder / f"lasting{number}", f"{kind} for good, cold", single=False)
            server.HOST.always = ""
    return figure


def damaged_caches() -> Figure:
    """Count each damage to a cached file: it is downloaded again."""
    zero = ("wrong bytes accepted", "single fault not recovered", "other error", "not repaired")
    figure = Figure("5 damaged caches", zero, ("right",))
    with loopback() as (model, folder):
        attempt(figure, model, folder / "cache", "cold", single=True)
        for name in (CONFIG, WEIGHTS):
            path = next((folder / "cache").rglob(f"snapshots/*/{name}"))
            blob, data = path.resolve(), path.read_bytes()
            flipped = data[:9] + bytes([data[9] ^ 2]) + data[10:]
            for kind in CACHE_FAULTS:
                if kind in ("blob gone", "both gone"):
                    blob.unlink()
                if kind in ("link gone", "both gone"):
                    path.unlink()
                damaged = {"flip": flipped, "cut": data[:-1], "empty": b"", "more": data + b"\0"}
                if kind in damaged:
                    blob.write_bytes(damaged[kind])
                attempt(figure, model, folder / "cache", f"{name}: {kind}", single=True)
                if path.read_bytes() != data:
                    figure.add("not repaired", f"{name}: {kind}")
    return figure


def hostile_names(count: int, seed: int = 0) -> Figure:
    """Count names of repositories and revisions, and commits and etags that a host sends: none leads out of the cache.

    In half of the hostile answers the host sends good headers first, and hostile ones from the second request on.
    """
    figure = Figure("5 hostile names", ("written outside the cache", "other error"), ("refused", "looked for"))
    pick = random.Random(seed)
    parts = ("..", "/", "\\", "@", "a", "owner", "tiny", "%2e%2e", "~", "\0", "é", " ", ".", "-", "refs", "C:", "//", "$HOME")
    with loopback() as (_, folder):
        cache, before = folder / "in" / "cache", set(folder.rglob("*"))
        for number in range(count):
            text, server.HOST.sent, server.HOST.sent_after = REPO, {}, 0
            words = pick.choices(parts, k=pick.randrange(1, 9))
            if number % 4:
                text = "".join(words)
            else:
                hostile = "../" * pick.randrange(5) + "".join(words).replace("\0", "0").replace("é", "e")
                server.HOST.sent = {"X-Repo-Commit": hostile} if number % 8 else {"ETag": hostile}
                server.HOST.sent_after = len(server.HOST.requests) + number // 8 % 2
            try:
                open_repository(f"hf-hub:{text}", cache / str(number)).read(CONFIG, read_config)
                figure.add("looked for")
            except iz.ArgumentError:
                figure.add("refused")
            except iz.WeightsError:
                figure.add("looked for")
            except Exception as error:
                figure.add("other error", f"{text!r}: {type(error).__name__}: {error}")
        server.HOST.sent = {}
        for path in set(folder.rglob("*")) - before:
            if cache not in (path, *path.parents) and path not in cache.parents:
                figure.add("written outside the cache", path)
    return figure


NUMBERS = (None, True, -1, 0, 3, 10**9, 1e308, float("nan"))
VALUES = (*NUMBERS, "", "x", "izoo_tiny", "x" * 5000, [], [3, 8, 8], [3] * 40, ["a"], {}, {"a": {}})
KEYS = ("architecture", "num_classes", "global_pool", "label_names", "model_args", "pretrained_cfg", string.ascii_letters)
INNER = ("input_size", "mean", "std", "interpolation", "crop_pct", "num_classes", "url", "custom_load")


def lying_configs(count: int, seed: int = 0) -> Figure:
    """Count config.json files with wrong values: each is read, or refused by an error of the library before a build."""
    figure = Figure("6 config.json", ("other error", "built before refusal"), ("refused", "read"))
    pick = random.Random(seed)
    with loopback() as (_, folder):
        path = folder / "out" / "config.json"
        plain = json.loads(path.read_text())
        for _ in range(count):
            config = dict(plain)
            for key in pick.sample(KEYS, pick.randrange(1, 4)):
                config[key] = pick.choice(VALUES)
            if pick.random() < 0.7:
                config["pretrained_cfg"] = {key: pick.choice(VALUES) for key in pick.sample(INNER, pick.randrange(1, 4))}
            text = json.dumps(config)
            path.write_text(text if pick.random() < 0.95 else text[: pick.randrange(len(text))])
            with mock.patch("inceptionzoo.zoo._restore.build_network") as build:
                try:
                    read_config(path)
                    figure.add("read")
                except iz.FileError:
                    figure.add("refused")
                except Exception as error:
                    figure.add("other error", f"{path.read_text()[:300]}: {type(error).__name__}: {error}")
                if build.called:
                    figure.add("built before refusal", path.read_text()[:300])
    return figure
