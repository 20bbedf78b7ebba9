"""Files of a Hugging Face Hub repository, checked and kept; and references to it or to a local folder."""

from __future__ import annotations

import hashlib
import os
import re
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ArgumentError, DownloadError, RefusedError
from .. import atomic_write
from ._cache import cache_folder, cache_path, digest_checker, matches_digest, temporary_folder, write_digest
from ._http import REFUSALS, download
from ._retry import RetryPolicy, TransientError, call_with_timeout, retry

HUB, LOCAL = "hf-hub:", "local-dir:"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
WORD = "[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"  # the Hub's own rule
REFERENCE = re.compile(f"(?P<owner>{WORD})/(?P<name>{WORD})(?:@(?P<revision>[A-Za-z0-9_./-]{{1,200}}))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
SUMS = {40: "git", 64: "sha256"}  # what the Hub's etag is, by its length


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository at a revision: a branch, a tag or a commit."""

    owner: str
    name: str
    revision: str = "main"

    @property
    def repo(self) -> str:
        """The repository's id."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"{HUB}{self.repo}" + ("" if self.revision == "main" else f"@{self.revision}")


def parse_reference(text: str) -> HubReference:
    """Return what "hf-hub:owner/name@revision" refers to.

    Raises:
        ArgumentError: it is not of this form.
    """
    found = REFERENCE.fullmatch(text.removeprefix(HUB))
    if not found or ".." in text or "--" in found["owner"] + "/" + found["name"]:
        raise ArgumentError(f"{text[:200]!r} must be {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION")
    return HubReference(found["owner"], found["name"], found["revision"] or "main")


def is_reference(source: object) -> bool:
    """Return whether a source of weights is a Hub repository or a folder that looks like one."""
    return isinstance(source, str) and source.startswith((HUB, LOCAL))


def resolve_folder(source: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return a local folder with the config.json and model.safetensors that a reference means.

    Of a Hub repository it is the cache's, after a download where need be. A branch's newest commit is asked for each time;
    offline (HF_HUB_OFFLINE=1), or with a warning where the Hub is not reached, the last one known is taken.

    Raises:
        ArgumentError: it is no reference.
        DownloadError: there is no such repository, it cannot be reached, or none is cached.
    """
    if source.startswith(LOCAL):
        folder = Path(source.removeprefix(LOCAL))
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise DownloadError(f"{source}: {folder / name} is missing; save_pretrained writes such a folder")
        return folder
    reference = parse_reference(source)
    home = cache_path(cache_folder(cache_dir), "hub", reference.owner, reference.name)
    commit = _commit(reference, home)
    for name in (CONFIG, WEIGHTS):
        path = cache_path(home, commit, name)
        if not matches_digest(path):
            _download(reference, commit, name, path)
    return home / commit


def _commit(reference: HubReference, home: Path) -> str:
    """Return the commit of a revision, and keep it for when the Hub is not reached."""
    if COMMIT.fullmatch(reference.revision):
        return reference.revision
    known = cache_path(home, "refs", hashlib.sha256(reference.revision.encode()).hexdigest())
    last = known.read_text() if known.is_file() else ""
    last = last if COMMIT.fullmatch(last) else ""
    if is_offline():
        if last:
            return last
        raise DownloadError(f"{reference}: nothing of it is cached, and HF_HUB_OFFLINE is set; unset it once")
    try:
        patience = RetryPolicy.asked()
        commit, _, _ = hub_metadata(reference, reference.revision, CONFIG, replace(patience, attempts=2) if last else patience)
    except RefusedError:
        raise
    except DownloadError as error:
        if not last:
            raise
        warnings.warn(f"{error}; its last known commit {last[:12]} is used", stacklevel=2)
        return last
    if commit != last:
        known.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(known) as stream:
            stream.write(commit.encode())
    return commit


def is_offline() -> bool:
    """Return whether huggingface_hub was told to stay offline."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def hub_metadata(reference: HubReference, revision: str, name: str, patience: RetryPolicy) -> tuple[str, str, str]:
    """Return what the Hub says of a file: its commit, and the kind and the digits of its checksum.

    Raises:
        RefusedError: there is no such file, or no leave to read it.
        DownloadError: the Hub is not reached in time.
    """
    from huggingface_hub import errors as hub_errors
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(reference.repo, name, revision=revision)
    refusals = (hub_errors.EntryNotFoundError, hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError)

    def step(until: float) -> tuple[str, str, str]:
        seconds = min(patience.read, until - time.monotonic())
        try:
            told = call_with_timeout(seconds, lambda: get_hf_file_metadata(url, timeout=seconds))
        except refusals as error:
            raise RefusedError(f"{reference}: {type(error).__name__} for {name}; check its name, and HF_TOKEN") from error
        except TransientError:
            raise
        except Exception as error:  # of whatever HTTP library it uses
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in REFUSALS:
                raise RefusedError(f"{reference}: {status} for {name}, {REFUSALS[status]}") from error
            raise TransientError(f"{type(error).__name__}: {' '.join(str(error).split())[:100]}") from error
        commit, etag = str(told.commit_hash), str(told.etag)
        if not COMMIT.fullmatch(commit) or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", etag):
            raise TransientError(f"the server names no commit or checksum ({commit[:60]!r}, {etag[:60]!r})")
        return commit, SUMS[len(etag)], etag

    return retry(str(reference), patience, step)


def _download(reference: HubReference, commit: str, name: str, path: Path) -> None:
    """Fetch a file of a commit into the cache, held to the checksum that the Hub names."""
    if is_offline():
        raise DownloadError(f"{reference}: {name} is not cached, or damaged there, and HF_HUB_OFFLINE is set; unset it once")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path.parent) as place:
        download_hub_file(reference, commit, name, place / name)
        os.replace(place / name, path)
    write_digest(path)


def download_hub_file(reference: HubReference, revision: str, name: str, path: Path) -> None:
    """Download a file of a repository to `path`, held to the checksum that the Hub names; asks for that anew where it fails.

    Raises:
        DownloadError: as `metadata` and `fetch`.
    """
    from huggingface_hub import get_token, hf_hub_url

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url, patience = hf_hub_url(reference.repo, name, revision=revision), RetryPolicy.asked()

    def step(until: float) -> None:
        few = replace(patience, attempts=3, total=max(1.0, until - time.monotonic()))
        _, kind, digits = hub_metadata(reference, revision, name, few)
        few = replace(few, total=max(1.0, until - time.monotonic()))
        try:
            download(url, path, digest_checker(kind, digits), headers=headers, patience=few)
        except RefusedError:
            raise
        except DownloadError as error:
            raise TransientError(str(error)) from error

    retry(str(reference), replace(patience, attempts=2), step)
