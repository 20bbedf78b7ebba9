"""Figures of downloads: faults of a host, names that lead elsewhere, descriptions that lie."""

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
from inceptionzoo.weights.download._hub import resolve_folder
from inceptionzoo.weights.download._retry import RetryPolicy

IMPATIENT = RetryPolicy(read=0.5, total=15.0, attempts=4, pause=0.005)
DEADLINE = 4 * IMPATIENT.total  # of a call: two checksums and two files, each with its own patience
REPO, REFERENCE = "owner/tiny", "hf-hub:owner/tiny"
CACHE_FAULTS = ("flip", "cut", "empty", "more", "seal gone", "seal cut", "file gone")


@contextlib.contextmanager
def loopback() -> Iterator[tuple[iz.Net, Path]]:
    """A host with the repository "owner/tiny", its model, and a folder; a download's patience is one to wait for."""
    server.HOST.reset()
    server.HOST.pause = 1.0
    with registered("tiny", tiny_network, num_classes=3, input_size=(3, 8, 8)), tempfile.TemporaryDirectory() as folder:
        model = shaken(iz.create_model("tiny"), 0)
        iz.save_pretrained(model, Path(folder) / "out")
        server.HOST.put_repo(REPO, {path.name: path.read_bytes() for path in (Path(folder) / "out").iterdir()})
        with mock.patch.object(RetryPolicy, "asked", return_value=IMPATIENT), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield model, Path(folder)
    server.HOST.reset()


def attempt(figure: Figure, model: iz.Net, cache: Path, what: str, *, single: bool) -> None:
    """Count what a load through the Hub came to."""
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
    """Count each fault of a host: once at each request of a load, and for good; with an empty cache, and with a full one.

    The requests are HEAD for the commit, then HEAD and GET of either file.
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
    """Count each damage to a cached file: the bytes are fetched again."""
    figure = Figure("5 damaged caches", ("wrong bytes accepted", "single fault not recovered", "other error"), ("right",))
    with loopback() as (model, folder):
        attempt(figure, model, folder / "cache", "cold", single=True)
        for name in ("config.json", "model.safetensors"):
            path = next((folder / "cache").rglob(name))
            seal, whole = path.with_name(f"{name}.sha256"), path.read_bytes()
            bent = whole[:9] + bytes([whole[9] ^ 2]) + whole[10:]
            for kind in CACHE_FAULTS:
                files = {"flip": bent, "cut": whole[:-1], "empty": b"", "more": whole + b"\0"}
                path.write_bytes(files.get(kind, whole))
                if kind == "seal gone":
                    seal.unlink()
                elif kind == "seal cut":
                    seal.write_bytes(seal.read_bytes()[:-1])
                elif kind == "file gone":
                    path.unlink()
                attempt(figure, model, folder / "cache", f"{name}: {kind}", single=True)
    return figure


def hostile_names(count: int, seed: int = 0) -> Figure:
    """Count names of repositories and revisions, and commits and checksums that a host sends: none leads out of the cache."""
    figure = Figure("5 hostile names", ("written outside the cache", "other error"), ("refused", "looked for"))
    pick = random.Random(seed)
    parts = ("..", "/", "\\", "@", "a", "owner", "tiny", "%2e%2e", "~", "\0", "é", " ", ".", "-", "refs", "C:", "//", "$HOME")
    with loopback() as (_, folder):
        cache, before = folder / "in" / "cache", set(folder.rglob("*"))
        for number in range(count):
            if number % 4:
                text = "".join(pick.choices(parts, k=pick.randrange(1, 9)))
                server.HOST.sent = {}
            else:
                text, evil = (
                    "owner/tiny",
                    "".join(pick.choices(parts, k=pick.randrange(1, 9))).replace("\0", "0").replace("é", "e"),
                )
                server.HOST.sent = {"X-Repo-Commit": evil} if number % 8 else {"ETag": evil}
            with contextlib.suppress(ValueError):
                try:
                    resolve_folder(f"hf-hub:{text}", cache)
                    figure.add("looked for")
                except iz.ArgumentError:
                    figure.add("refused")
                except iz.DownloadError:
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
    """Count config.json files with wrong values: each is read as it says, or refused in words before anything is built."""
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
            with mock.patch("inceptionzoo.zoo._options.build_network") as build:
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
