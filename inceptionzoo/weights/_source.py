"""Read weights: from a .safetensors file, a .pth file, a Hub repository, or a state dict."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ArgumentError, FileError, MismatchError
from ._checksum import Checksum
from ._metadata import ModelMetadata
from ._pth import read_pth
from ._safetensors import read_safetensors
from ._safetensors_header import MARKER
from ._validation import require_dense
from .download import WEIGHTS, is_reference, open_repository

# Keys under which a training checkpoint keeps its weights, in order of preference: the averaged weights of timm and
# torchvision, then the weights of Lightning and timm, of torchvision's reference scripts, and of pytorch-cifar.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "net")
PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")  # of DataParallel, DistributedDataParallel; torch.compile
ATTRIBUTES = ("model.", "net.", "network.", "backbone.")  # the attribute that holds the network in a Lightning module
PICKLES = (".pth", ".pt", ".ckpt", ".tar")
MAX_DEPTH = 8  # of wrappers inside wrappers


@dataclass(frozen=True, slots=True)
class WeightSource:
    """Tensors by name, and where they come from (`name`); `metadata` is the description of the model in their file.

    If `owned`, the tensors may be put into a model without a copy. `selected` names the part of a checkpoint that was read.
    """

    tensors: dict[str, Tensor]
    name: str
    metadata: ModelMetadata | None = None
    owned: bool = True
    selected: str = ""


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
        tensors, selected = unwrap_checkpoint(source, "the state dict")
        return WeightSource(tensors, "the state dict", owned=False, selected=selected)
    if not isinstance(source, str | os.PathLike):
        raise ArgumentError(f"weights of type {type(source).__name__} must be a path or a state dict")
    if isinstance(source, str) and is_reference(source):
        return open_repository(source, cache_dir).read(WEIGHTS, read_weight_file)
    path = Path(source)
    if not path.is_file():
        raise FileError(f"{path} is not a file; give the path of a .safetensors or .pth file")
    return read_weight_file(path)


def read_weight_file(path: Path, checksum: Checksum | None = None) -> WeightSource:
    """Return the tensors of a .safetensors or .pth file; its bytes must match `checksum`, if one is given.

    Raises:
        FileError: the file has another format or another checksum, or is damaged.
        OSError: it cannot be read.
    """
    if path.suffix in PICKLES:
        tensors, selected = unwrap_checkpoint(read_pth(path, checksum), str(path))
        return WeightSource(tensors, str(path), owned=False, selected=selected)
    tensors, metadata = read_safetensors(path, checksum)
    return WeightSource(
        tensors, str(path), ModelMetadata.from_json(metadata[MARKER], str(path)) if MARKER in metadata else None
    )


def unwrap_checkpoint(state: Any, name: str) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a checkpoint, without the prefixes of wrappers, and the keys that led to them, joined by dots.

    Raises:
        FileError: it contains no state dict, or something in the state dict is not a tensor.
        MismatchError: a tensor is not a plain dense one, or two have the same name without their prefixes.
    """
    selected, mapping = [], _as_dict(state)
    for _ in range(MAX_DEPTH):
        wrapper = next((key for key in WRAPPERS if isinstance(mapping.get(key), Mapping)), None)
        if wrapper is None:
            break
        mapping = _as_dict(mapping[wrapper])
        selected.append(wrapper)
    if not mapping:
        raise FileError(f"{name} holds no state dict: a mapping of names to tensors, by itself or under {WRAPPERS}")
    tensors: dict[str, Tensor] = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise FileError(f"{name}: key {key!r} must be a str, the name of a tensor; pass the state dict alone")
        if not isinstance(value, Tensor):
            raise FileError(f"{name}: {key!r} is a {type(value).__name__}, not a tensor; pass the state dict alone")
        key = PREFIXES.sub("", key)
        if key in tensors:
            raise MismatchError(f"{name}: {key!r} appears twice without its prefixes; remove one of the two")
        tensors[key] = require_dense(key, value)
    for attribute in ATTRIBUTES:
        if all(key.startswith(attribute) for key in tensors):
            tensors = {key.removeprefix(attribute): value for key, value in tensors.items()}
            selected.append(f"{attribute}*")
    return tensors, ".".join(selected)


def _as_dict(state: Any) -> dict[Any, Any]:
    """Return a mapping as a dict, and anything else as an empty one; no method that a file's object overrides is called."""
    if isinstance(state, dict):
        return dict(dict.items(state))
    return dict(state) if isinstance(state, Mapping) else {}
