"""Read weights from wherever they come: a .safetensors file, a .pth file, or a state dict."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ArgumentError, FileError, MismatchError
from ._metadata import ModelMetadata
from ._pth import read_pth
from ._safetensors import read_safetensors
from ._safetensors_header import MARKER
from ._validation import require_dense
from .download import WEIGHTS, is_reference, resolve_folder

# where a training checkpoint keeps its weights, the best first: timm's averaged ones, Lightning's and timm's, torchvision's
# references', pytorch-cifar's
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "net")
PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")  # DataParallel and the like, torch.compile; any number of them
ATTRIBUTES = ("model.", "net.", "network.", "backbone.")  # what a Lightning module calls the model: before every name, or none
PICKLES = (".pth", ".pt", ".ckpt", ".tar")
DEEPEST = 8  # wrappers inside wrappers


@dataclass(frozen=True, slots=True)
class WeightSource:
    """Tensors by name, where they come from, and what their file says of the model."""

    tensors: dict[str, Tensor]
    name: str
    metadata: ModelMetadata | None = None
    owned: bool = True
    selected: str = ""  # which part of a checkpoint it was


def read_weights(
    source: str | os.PathLike[str] | Mapping[str, Any] | WeightSource, *, cache_dir: str | os.PathLike[str] | None = None
) -> WeightSource:
    """Return the tensors of a path, a Hub repository, a local folder or a state dict; nothing of a file is ever unpickled.

    What has been read already is returned as it is.

    Raises:
        ArgumentError: `source` is none of these.
        FileError: the file is none of these kinds, or damaged.
        DownloadError: the repository cannot be had.
        OSError: it cannot be read.
    """
    if isinstance(source, WeightSource):
        return source
    if isinstance(source, Mapping):
        tensors, taken = unwrap_checkpoint(source, "the state dict")
        return WeightSource(tensors, "the state dict", owned=False, selected=taken)
    if not isinstance(source, str | os.PathLike):
        raise ArgumentError(f"weights of type {type(source).__name__} must be a path or a state dict")
    path = resolve_folder(str(source), cache_dir) / WEIGHTS if is_reference(source) else Path(source)
    if not path.is_file():
        raise FileError(f"{path} is no file; give the path of a .safetensors or .pth file")
    if path.suffix in PICKLES:
        tensors, taken = unwrap_checkpoint(read_pth(path), str(path))
        return WeightSource(tensors, str(path), owned=False, selected=taken)
    tensors, metadata = read_safetensors(path)
    return WeightSource(
        tensors, str(path), ModelMetadata.from_json(metadata[MARKER], str(path)) if MARKER in metadata else None
    )


def unwrap_checkpoint(state: Any, name: str) -> tuple[dict[str, Tensor], str]:
    """Return the tensors inside a training checkpoint, without the prefixes that wrappers leave on their names; and where.

    Raises:
        FileError: there is no state dict in it, or something in it is no tensor.
        MismatchError: a tensor is none of numbers that simply lie in memory.
    """
    taken, held = [], _plain(state)
    for _ in range(DEEPEST):
        inner = next((key for key in WRAPPERS if isinstance(held.get(key), Mapping)), None)
        if inner is None:
            break
        held = _plain(held[inner])
        taken.append(inner)
    if not held:
        raise FileError(f"{name} holds no state dict: a mapping of names to tensors, by itself or under {WRAPPERS}")
    tensors: dict[str, Tensor] = {}
    for key, value in held.items():
        if not isinstance(key, str):
            raise FileError(f"{name}: key {key!r} must be a str, the name of a tensor; pass the state dict alone")
        if not isinstance(value, Tensor):
            raise FileError(f"{name}: {key!r} is a {type(value).__name__}, not a tensor; pass the state dict alone")
        key = PREFIXES.sub("", key)
        if key in tensors:
            raise MismatchError(f"{name}: {key!r} stands twice once its prefixes are taken off; remove one of the two")
        tensors[key] = require_dense(key, value)
    for attribute in ATTRIBUTES:
        if all(key.startswith(attribute) for key in tensors):
            tensors = {key.removeprefix(attribute): value for key, value in tensors.items()}
            taken.append(f"{attribute}*")
    return tensors, ".".join(taken)


def _plain(state: Any) -> dict[Any, Any]:
    """Return a mapping as a dict; what a file's objects say of themselves is never asked."""
    if isinstance(state, dict):
        return dict(dict.items(state))
    return dict(state) if isinstance(state, Mapping) else {}
