"""Files that are often given in place of weights."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from typing import BinaryIO

STATE_DICT = "and pass a state dict, {name: tensor}"
SIGNATURES = (  # a pattern of the first bytes: what the file is, and the remedy
    (rb"version ", "a git-LFS pointer; fetch the file itself with `git lfs pull`"),
    (rb"(?i)<!doctyp|<html", "an HTML page; download the file itself"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras's; rename it to .h5"),
    (rb".{4}TFL3", "a TensorFlow Lite model; use the weights that it was converted from"),
    (
        rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]",
        f"an ONNX model; read its initializers with onnx.numpy_helper {STATE_DICT}",
    ),
    (rb"\x93NUMPY", f"a NumPy array; load it with numpy.load {STATE_DICT}"),
    (rb"\x1f\x8b", "a gzip archive; unpack it first"),
    (
        rb"\s*[\[{]\s*\"",
        "a JSON file, such as the index of a checkpoint in several files; give a file of weights, or read each of several "
        "with safetensors.torch.load_file and pass one state dict with the tensors of all",
    ),
    (rb"\x89PNG|\xff\xd8\xff", "an image; give a file of weights"),
)
ARCHIVES = (  # a pattern of the name of an entry: what the zip archive is, and the remedy
    (r"model\.weights\.h5", "a Keras model; rename it to .keras"),
    (r".*\.npy", f"a NumPy archive; load it with numpy.load {STATE_DICT}"),
    (
        r"(.*/)?code/.*|(.*/)?constants\.pkl",
        "a TorchScript model, which holds code; load it with torch.jit.load and pass its state_dict()",
    ),
    (r"(.*/)?archive_format", "an exported program; load it with torch.export.load and pass its state_dict"),
)
# What a damaged archive can raise; from Python 3.14 on, a warning of overlapping entries, if warnings are errors
ZIP_ERRORS = (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, OSError, UserWarning)


def identify_other_format(start: bytes) -> str:
    """Return what a file with these first bytes is, and the remedy; "" if it may be a weight file."""
    return next((what for pattern, what in SIGNATURES if re.match(pattern, start, re.DOTALL)), "")


def identify_archive(names: Sequence[str]) -> str:
    """Return what a zip archive with entries of these names is, and the remedy; "" if it may be a .pth file."""
    return next((what for pattern, what in ARCHIVES if any(re.fullmatch(pattern, name) for name in names)), "")


def identify_zip_file(stream: BinaryIO) -> str:
    """Return what a zip archive in place of a .safetensors file is, and the remedy."""
    try:
        with zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except ZIP_ERRORS:
        names = []
    return identify_archive(names) or "a .pth archive; rename it to .pth, or convert it"
