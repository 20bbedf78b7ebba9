"""Read weights from wherever they come: a .safetensors file, a .pth file, or a state dict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ArgumentError, FileError, MismatchError
from .card import Card
from .pickles import read_pickle
from .safefile import MARKER, read_safetensors

WRAPPERS = ("state_dict", "model", "net")  # Lightning and timm, torchvision's references, pytorch-cifar
PREFIXES = ("module.", "_orig_mod.")  # DataParallel, torch.compile
PICKLES = (".pth", ".pt", ".ckpt", ".tar")
DEEPEST = 8  # wrappers inside wrappers


@dataclass(frozen=True, slots=True)
class Source:
    """Tensors by name, where they come from, and what their file says of the model."""

    tensors: dict[str, Tensor]
    name: str
    card: Card | None = None
    owned: bool = True


def read_source(source: str | os.PathLike[str] | Mapping[str, Any]) -> Source:
    """Return the tensors of a path or a state dict; nothing of a file is ever unpickled.

    Raises:
        ArgumentError: `source` is neither.
        FileError: the file is none of these kinds, or damaged.
        OSError: it cannot be read.
    """
    if isinstance(source, Mapping):
        return Source(unwrap(source, "the state dict"), "the state dict", owned=False)
    if not isinstance(source, str | os.PathLike):
        raise ArgumentError(f"weights of type {type(source).__name__} must be a path or a state dict")
    path = Path(source)
    if not path.is_file():
        raise FileError(f"{path} is no file; give the path of a .safetensors or .pth file")
    if path.suffix in PICKLES:
        return Source(unwrap(read_pickle(path), str(path)), str(path), owned=False)
    tensors, metadata = read_safetensors(path)
    return Source(tensors, str(path), Card.from_json(metadata[MARKER], str(path)) if MARKER in metadata else None)


def unwrap(state: Any, name: str) -> dict[str, Tensor]:
    """Return the tensors inside a training checkpoint, without the prefixes that wrappers leave on their names.

    Raises:
        FileError: there is no state dict in it, or something in it is no tensor.
    """
    for _ in range(DEEPEST):
        if not isinstance(state, Mapping):
            break
        inner = next((key for key in WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = state[inner]
    if not isinstance(state, Mapping) or not state:
        raise FileError(f"{name} holds no state dict: a mapping of names to tensors, by itself or under {WRAPPERS}")
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(key, str):
            raise FileError(f"{name}: key {key!r} must be a str, the name of a tensor; pass the state dict alone")
        if not isinstance(value, Tensor):
            raise FileError(f"{name}: {key!r} is a {type(value).__name__}, not a tensor; pass the state dict alone")
        while key.startswith(PREFIXES):
            key = key.removeprefix(PREFIXES[0]).removeprefix(PREFIXES[1])
        if key in tensors:
            raise MismatchError(f"{name}: {key!r} stands twice once its prefixes are taken off; remove one of the two")
        tensors[key] = value
    return tensors
