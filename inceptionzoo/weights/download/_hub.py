"""Files of a Hugging Face Hub repository, in the cache that huggingface_hub shares between all tools.

huggingface_hub resolves names, checksums and cached files. The bytes are downloaded by `download`, not by
`hf_hub_download` (tried with version 2.4.0), for two reasons:

- `hf_hub_download` uses the etag that a server sends as a path: with '../../../../evil' it writes outside the cache. It asks
  for the etag itself, so that a check before the call cannot prevent this.
- It has no deadline. If the caller gives up, the call goes on in its thread and keeps the lock on the file.

The cache has the layout that huggingface_hub documents: blobs/ETAG, links snapshots/COMMIT/NAME to them, refs/REVISION.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ...errors import DownloadError, RefusedError
from .. import Checksum, atomic_write_text
from ._cache import Folder, Reader, hub_folder, is_offline, read_cached, temporary_folder
from ._http import REFUSALS, download
from ._reference import LOCAL, HubReference, parse_reference
from ._retry import RetryPolicy, TransientError, call_with_timeout, retry

T = TypeVar("T")
CONFIG, WEIGHTS = "config.json", "model.safetensors"
COMMIT = re.compile("[0-9a-f]{40}")
ETAG = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LocalRepository:
    """A folder with the files of a repository."""

    folder: Path

    def read(self, name: str, read: Reader[T]) -> T:
        """Return `read(path, None)` for a file of the folder."""
        return read(self.folder / name, None)


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A Hub repository at a commit; `cache` is the Hub's cache folder."""

    reference: HubReference
    commit: str
    cache: Path

    def read(self, name: str, read: Reader[T]) -> T:
        """Return `read(path, checksum)` for a file of the repository, from the cache or downloaded.

        Raises:
            DownloadError: the file is not cached, or damaged there, and cannot be downloaded.
            FileError: `read` refuses it although its checksum is right.
        """
        cached = self._find(name)
        if cached is not None and (result := read_cached(*cached, read)) is not None:
            return result[0]
        if is_offline():
            raise DownloadError(f"{self.reference}: {name} is not cached, and HF_HUB_OFFLINE is set; unset it to download")
        path, checksum = self._download(name)
        return read(path, checksum)

    def _find(self, name: str) -> tuple[Path, Checksum | None] | None:
        """Return the path of a cached file and its checksum, which is the name of the blob that the path links to."""
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(self.reference.repo, name, cache_dir=self.cache, revision=self.commit)
        if not isinstance(path, str):
            return None
        etag = os.path.basename(os.readlink(path)) if os.path.islink(path) else ""
        if not ETAG.fullmatch(etag):  # a file system without links
            if is_offline():
                return Path(path), None
            _, etag = hub_metadata(self.reference, self.commit, name, RetryPolicy.from_environment())
        return Path(path), Checksum.from_etag(etag)

    def _download(self, name: str) -> tuple[Path, Checksum]:
        """Download a file into the cache; return its path and checksum."""
        from huggingface_hub import constants, get_token, hf_hub_url

        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url, policy = hf_hub_url(self.reference.repo, name, revision=self.commit), RetryPolicy.from_environment()
        folder = _repository_folder(self.reference, self.cache)

        def attempt(deadline: float) -> tuple[Path, Checksum]:
            part = replace(policy, attempts=3, total=max(1.0, deadline - time.monotonic()))
            _, etag = hub_metadata(self.reference, self.commit, name, part)
            checksum = Checksum.from_etag(etag)
            part = replace(part, total=max(1.0, deadline - time.monotonic()))
            with temporary_folder(folder) as temporary:
                try:
                    download(url, temporary / name, checksum.check_file, headers=headers, policy=part)
                except RefusedError:
                    raise
                except DownloadError as error:  # the etag may have been wrong: ask for it again
                    raise TransientError(str(error)) from error
                return _add_to_cache(temporary / name, folder, self.commit, etag), checksum

        return retry(str(self.reference), replace(policy, attempts=2), attempt)


def open_repository(
    source: str, cache_dir: Folder = None, *, name: str = CONFIG, newest: bool = True
) -> LocalRepository | HubRepository:
    """Return the repository that "hf-hub:owner/name@revision" or "local-dir:path" refers to.

    The repository must have the file `name`. For a branch or tag, a request for it finds the newest commit. The last known
    commit is used instead, if there is one, with `newest=False`, offline (HF_HUB_OFFLINE=1) and, with a warning, if the Hub
    cannot be reached.

    Raises:
        ArgumentError: `source` has another form.
        DownloadError: there is no such repository, or it cannot be reached and is not cached.
    """
    if source.startswith(LOCAL):
        folder = Path(os.path.expanduser(source.removeprefix(LOCAL)))  # no shell expands a ~ behind the prefix
        for file in dict.fromkeys((name, WEIGHTS)):
            if not (folder / file).is_file():
                pickles = sorted(folder.glob("*.bin"))  # timm's and transformers' older form
                use = f"; create_model(NAME, weights={str(pickles[0])!r}) loads the weights alone" if pickles else ""
                raise DownloadError(f"{source}: {folder / file} is missing; save_pretrained writes such a folder{use}")
        return LocalRepository(folder)
    reference, cache = parse_reference(source), hub_folder(cache_dir)
    return HubRepository(reference, _find_commit(reference, cache, name, newest), cache)


def _repository_folder(reference: HubReference, cache: Path) -> Path:
    return cache / f"models--{reference.owner}--{reference.name}"


def _find_commit(reference: HubReference, cache: Path, name: str, newest: bool) -> str:
    """Return the commit of a revision, and record it in the cache."""
    if COMMIT.fullmatch(reference.revision):
        return reference.revision
    record = _repository_folder(reference, cache) / "refs" / reference.revision
    last = record.read_text() if record.is_file() else ""
    last = last if COMMIT.fullmatch(last) else ""
    if last and (is_offline() or not newest):
        return last
    if is_offline():
        raise DownloadError(f"{reference} is not cached, and HF_HUB_OFFLINE is set; unset it to download, or pass weights=FILE")
    policy = RetryPolicy.from_environment()
    try:
        commit, _ = hub_metadata(reference, reference.revision, name, replace(policy, attempts=2) if last else policy)
    except RefusedError:
        raise
    except DownloadError as error:
        if not last:
            raise
        warnings.warn(f"{error}; its last known commit {last[:12]} is used", stacklevel=2)
        return last
    if commit != last:
        with suppress(OSError):  # a cache that is read-only; huggingface_hub suppresses it too
            record.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(record, commit)
    return commit


def hub_metadata(reference: HubReference, revision: str, name: str, policy: RetryPolicy) -> tuple[str, str]:
    """Return the commit and the etag of a file, from the Hub.

    Raises:
        RefusedError: there is no such file, or access to it is denied.
        DownloadError: the Hub cannot be reached in time.
    """
    from huggingface_hub import errors as hub_errors
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(reference.repo, name, revision=revision)
    refusals = (hub_errors.EntryNotFoundError, hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError)

    def attempt(deadline: float) -> tuple[str, str]:
        seconds = min(policy.read, deadline - time.monotonic())
        try:
            metadata = call_with_timeout(seconds, lambda: get_hf_file_metadata(url, timeout=seconds))
        except refusals as error:
            raise RefusedError(f"{reference}: {type(error).__name__} for {name}; check its name, and HF_TOKEN") from error
        except TransientError:
            raise
        except Exception as error:  # the class depends on the HTTP library of this huggingface_hub
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in REFUSALS:
                raise RefusedError(f"{reference}: {status} for {name}, {REFUSALS[status]}") from error
            raise TransientError(f"{type(error).__name__}: {' '.join(str(error).split())[:100]}") from error
        commit, etag = str(metadata.commit_hash), str(metadata.etag)
        if not COMMIT.fullmatch(commit) or not ETAG.fullmatch(etag):
            raise TransientError(f"the server sent no commit or no checksum ({commit[:60]!r}, {etag[:60]!r})")
        return commit, etag

    return retry(str(reference), policy, attempt)


def _add_to_cache(file: Path, folder: Path, commit: str, etag: str) -> Path:
    """Move a downloaded file into a repository's cache folder; return its path there."""
    blob, path = folder / "blobs" / etag, folder / "snapshots" / commit / file.name
    for parent in (blob.parent, path.parent):
        parent.mkdir(parents=True, exist_ok=True)
    os.replace(file, blob)
    try:
        os.symlink(os.path.relpath(blob, path.parent), file)
    except OSError:  # Windows without developer mode; huggingface_hub has no blob then either
        os.replace(blob, path)
    else:
        os.replace(file, path)
    return path
