"""Publish a model: write a folder that timm and the Hub can read, or upload it."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, DownloadError, ZooError, check_path
from ..nn import Net, private_torch, require_net
from ..weights import atomic_write_text, describe_model, save_weights
from ..weights.download import CONFIG, WEIGHTS
from ._card_file import CARD, is_edited, kept_message, with_digest, without_digest
from ._model_card import PLACEHOLDER, model_card, model_config

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def save_pretrained(
    model: Net,
    folder: str | os.PathLike[str],
    *,
    class_names: list[str] | tuple[str, ...] | None = None,
    metrics: Mapping[str, float] | None = None,
    license: str | None = None,
    datasets: Sequence[str] = (),
    description: str = "",
) -> None:
    """Write a model to a folder: config.json, model.safetensors and README.md, the model card.

    The folder is created if it does not exist. Its files have timm's format. `create_model("local-dir:FOLDER")` loads it,
    and after an upload `create_model("hf-hub:OWNER/NAME")` does. Files in the folder are replaced, except a model card that was
    edited, with a warning.

    `class_names` are in the order of the outputs; the default is the model's own. `metrics` are results, for example
    `{"accuracy": 0.93}`. `license` and `datasets` are the Hub's identifiers. `description` is a paragraph of the card.

    Raises:
        ArgumentError: as `save_weights`; or a text is not a string, or the model is fused.
        OSError: a file cannot be written.
    """
    model = require_net(private_torch.uncompiled(model), "save_pretrained")
    _check_card(license, datasets, description)
    if model.fused:
        raise ArgumentError("the model is fused, which timm cannot read; save the model it was made from, or use save_weights")
    target, names = check_path("folder", folder), class_names
    describe_model(model, class_names=names, metrics=metrics)  # raises before the folder is created
    target.mkdir(parents=True, exist_ok=True)
    save_weights(model, target / WEIGHTS, class_names=names, metrics=metrics)
    names = model.class_names if names is None else names
    card = model_card(
        model, class_names=names, metrics=metrics or {}, license=license, datasets=datasets, description=description
    )
    atomic_write_text(target / CONFIG, json.dumps(model_config(model, names), indent=2) + "\n")
    if (target / CARD).is_file() and is_edited((target / CARD).read_text("utf-8", errors="replace")):
        warnings.warn(kept_message(str(target)), stacklevel=2)
    else:
        atomic_write_text(target / CARD, with_digest(card))


def push_to_hub(
    model: Net,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "Add model",
    **card: Any,
) -> str:
    """Upload a model to a repository of the Hub and return the URL of the commit.

    The repository is created if it does not exist. It gets the files of `save_pretrained(model, ..., **card)`. A model card
    that was edited on the Hub is kept, with a warning. `revision` is an existing branch; the default is the main branch.
    `token` defaults to the token that huggingface_hub has stored. Without an owner in `repo_id`, the owner is that of the
    token. `private=True` creates a private repository, False a public one; None follows the default of the owner.

    Raises:
        ArgumentError: as `save_pretrained`; or `repo_id` is not a valid identifier; or `private=True`, and the repository is
            public already. Nothing is uploaded.
        DownloadError: the Hub refused the upload or could not be reached.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, **card)
        card_file = Path(folder) / CARD
        try:
            api = HfApi(token=token)
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id  # with the owner
            if private and not api.model_info(repo_id).private:
                remedy = "make it private in its settings on the Hub, or leave out private"
                raise ArgumentError(f"private=True: {repo_id!r} exists and is public; {remedy}")
            if is_kept := _is_card_edited(api, repo_id, revision):
                card_file.unlink()
            else:
                text = without_digest(card_file.read_text("utf-8"))
                card_file.write_text(with_digest(text.replace(PLACEHOLDER, repo_id)), "utf-8")
            commit = api.upload_folder(repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message)
        except ZooError:
            raise
        except ValueError as error:  # huggingface_hub rejects a malformed id
            raise ArgumentError(f"repo_id={repo_id!r}: {error}") from error
        except Exception as error:  # the HTTP client's errors; which client depends on huggingface_hub's version
            reason = " ".join(str(error).split())
            raise DownloadError(f"{repo_id} was not uploaded: {reason}; check its name and HF_TOKEN, or try later") from error
    if is_kept:
        warnings.warn(kept_message(repo_id), stacklevel=2)
    return str(commit.commit_url)


def _is_card_edited(api: HfApi, repo_id: str, revision: str | None) -> bool:
    """Return whether a repository has a model card that was not written by this library, or was edited since."""
    if not api.file_exists(repo_id, CARD, revision=revision):
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(repo_id, CARD, revision=revision, local_dir=folder)
        return is_edited(Path(path).read_text("utf-8", errors="replace"))


def _check_card(license: object, datasets: Sequence[object], description: object) -> None:
    for name, value in (("license", license), ("description", description)):
        if not isinstance(value, str) and not (name == "license" and value is None):
            raise ArgumentError(f"{name}={value!r} must be a string")
    if not isinstance(datasets, list | tuple) or not all(isinstance(item, str) for item in datasets):
        raise ArgumentError(f"datasets={datasets!r} must be a list of names of data sets on the Hub")
