"""Data that training programs save beside the weights: arguments, dates, paths, NumPy's numbers. It is read as nothing.

Each name in `NAMES` stands for an inert class here, so that torch's restricted unpickler accepts it. Nothing of that name is
imported, called or filled with the file's values.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

NAMES = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "PurePosix", "Windows")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype",
    "numpy.ndarray",
    "mmengine.logging.history_buffer.HistoryBuffer",
    *(f"builtins.{name}" for name in ("dict", "float", "int", "list")),  # what a defaultdict starts from
    "builtins.getattr",  # mmengine's history names its methods by it
)
MAPPINGS = (
    "collections.defaultdict",
    *(f"{package}.utilities.data.AttributeDict" for package in ("lightning.fabric", "lightning_fabric")),
)
_LOCK = threading.Lock()  # torch's list of names is global


class Ignored:
    """A value that is not read."""

    def __init__(self, *args: Any) -> None:
        pass

    def __new__(cls, *args: Any) -> Any:  # noqa: ARG004  # the file's
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class UntypedMapping:
    """A mapping whose type is not read."""

    def __new__(cls, *args: Any) -> Any:  # noqa: ARG004  # the file's
        return {}


_CLASSES: list[Callable[..., Any] | tuple[Callable[..., Any], str]]
_CLASSES = [(type(name.rpartition(".")[2].replace("_reconstruct", "ndarray"), (Ignored,), {}), name) for name in NAMES]
_CLASSES += [(type(name.rpartition(".")[2], (UntypedMapping,), {}), name) for name in MAPPINGS]


@contextmanager
def ignored_values() -> Iterator[None]:
    """Let `torch.load(..., weights_only=True)` read values of `NAMES` as `Ignored`, and `MAPPINGS` as dicts."""
    with _LOCK, torch.serialization.safe_globals(_CLASSES):
        yield
