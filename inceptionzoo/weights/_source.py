"""Read weights: from a .safetensors, .pth or Keras file, a Hub repository, or a state dict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ArgumentError, FileError, check_path
from ..spec import DataConfig
from ._checksum import Checksum
from ._keras import KERAS, is_keras_file, read_keras
from ._metadata import ModelMetadata
from ._parts import Part, find_parts
from ._pth import read_pth
from ._safetensors import read_safetensors
from ._safetensors_header import MARKER
from .download import WEIGHTS, is_reference, open_repository

PICKLES = (".pth", ".pt", ".ckpt", ".tar", ".bin")
WEIGHT_ENDINGS = (".safetensors", *PICKLES, *KERAS)


@dataclass(frozen=True, slots=True)
class WeightSource:
    """Tensors by name, and where they come from (`name`).

    If `owned`, the tensors may be put into a model without a copy. `path` is the file that was read.

    `metadata` is the description of the model in the file. `data` is the preprocessing that a publisher or a config.json
    states. `published` says which published weights the tensors are, and what shows it.

    `parts` are all mappings of a checkpoint, and `tensors` then those of the largest. `select_weights` finds the tensors of a
    model in the parts. It returns a source with these tensors only: `selected` names the part that they come from, `outside`
    the other tensors of the part, and `left_over` the rest of the checkpoint.
    """

    tensors: Mapping[str, Tensor]
    name: str
    metadata: ModelMetadata | None = None
    owned: bool = True
    path: Path | None = None
    data: DataConfig | None = None
    published: str = ""
    parts: tuple[Part, ...] = ()
    selected: str = ""
    outside: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()


def read_weights(
    source: str | os.PathLike[str] | Mapping[str, Any] | WeightSource, *, cache_dir: str | os.PathLike[str] | None = None
) -> WeightSource:
    """Return the tensors of a path, a Hub repository, a local folder or a state dict; no code of a file is run.

    A `WeightSource` is returned unchanged.

    Raises:
        ArgumentError: `source` is none of these.
        FileError: the file has another format, or is damaged.
        DownloadError: the repository cannot be downloaded.
        OSError: the file cannot be read.
    """
    if isinstance(source, WeightSource):
        return source
    if isinstance(source, Mapping):
        return _from_checkpoint(source, "the state dict")
    if not isinstance(source, str | os.PathLike):
        raise ArgumentError(f"weights of type {type(source).__name__} must be a path or a state dict{_remedy(source)}")
    if isinstance(source, str) and is_reference(source):
        return open_repository(source, cache_dir, name=WEIGHTS).read(WEIGHTS, read_weight_file)
    path = check_path("weights", source)
    if not path.is_file():
        raise FileError(f"{source} is {_what_is_there(path)}")
    return read_weight_file(path)


def _remedy(source: object) -> str:
    """Return what to pass in place of an object that is no path and no state dict."""
    if hasattr(source, "state_dict"):
        return "; pass its state_dict()"
    if hasattr(source, "get_state_dict"):  # an entry of torchvision's enums of weights
        return "; pass its get_state_dict(), or to create_model pretrained=True"
    return "; create_model(..., pretrained=True) takes the published weights" if source is True else ""


def _what_is_there(path: Path) -> str:
    """Return what a path that is no file is, and the remedy."""
    give = "give the path of a .safetensors, .pth, .keras or .h5 file"
    if path.is_dir():
        files = sorted(file.name for file in path.iterdir() if file.suffix in WEIGHT_ENDINGS)
        held = f"; it holds {', '.join(files[:4])}" if files else ""
        return f"not a file but a folder; {give} in it, or 'local-dir:{path}' if it has a config.json{held}"
    if ":/" in str(path):  # a path has one slash where the URL has two
        return "not a file but a URL; download it, for example by torch.hub.download_url_to_file, and pass the path"
    return f"not a file; {give}"


def read_weight_file(path: Path, checksum: Checksum | None = None) -> WeightSource:
    """Return the tensors of a .safetensors, .pth or Keras file; its bytes must match `checksum`, if one is given.

    Raises:
        FileError: the file has another format or another checksum, or is damaged.
        OSError: it cannot be read.
    """
    if is_keras_file(path):
        return _from_parts(read_keras(path, checksum), str(path), path, owned=True)
    if path.suffix in PICKLES:
        return _from_checkpoint(read_pth(path, checksum), str(path), path)
    tensors, header = read_safetensors(path, checksum)
    metadata = ModelMetadata.from_json(header[MARKER], str(path)) if MARKER in header else None
    return WeightSource(tensors, str(path), metadata, path=path)


def _from_checkpoint(state: Any, name: str, path: Path | None = None) -> WeightSource:
    """Return what a checkpoint holds: a mapping of names to tensors, or mappings inside mappings.

    Raises:
        FileError: it contains no state dict.
    """
    return _from_parts(find_parts(state, name), name, path, owned=False)


def _from_parts(parts: tuple[Part, ...], name: str, path: Path | None, *, owned: bool) -> WeightSource:
    largest = max(parts, key=lambda part: len(part.tensors))
    return WeightSource(largest.tensors, name, owned=owned, path=path, parts=parts)
