"""Read Keras files: .keras, .h5 and .weights.json, of Keras 2 and 3."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ArgumentError, FileError
from ._checksum import Checksum
from ._parts import Part
from ._safetensors import read_safetensors

KERAS = (".keras", ".h5", ".hdf5")
SHARDS = ".weights.json"
READER = Path(__file__).with_name("_keras_reader.py")
SECONDS, BYTES_PER_SECOND = 20, 10_000_000  # a reader that takes longer than these allow is ended
FACENET_SUM = re.compile(r"Block(35|17|8)_\d+_ScaleSum")
FACENET_SCALES = {"35": (0.17,), "17": (0.1,), "8": (0.2, 1.0)}
AUTOMATIC = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")  # a layer's name that Keras chose


def is_keras_file(path: Path) -> bool:
    """Return whether the ending of a path is one that Keras uses."""
    return path.suffix in KERAS or path.name.endswith(SHARDS)


def read_keras(path: Path, checksum: Checksum | None = None) -> tuple[Part, ...]:
    """Return the tensors of a Keras file: one part for the model, and one for each model nested in it.

    The names are "LAYER.VARIABLE", with dimensions in torch's order. Layers that Keras named by itself ("conv2d_17") are
    numbered anew from 0 in each part, because Keras's numbers go on from model to model. A batch normalisation without a
    scale gets ones as its "gamma".

    h5py reads the file in a process of its own. A crash of the HDF5 library is an error here.

    Raises:
        ArgumentError: h5py is not installed.
        FileError: the file has another checksum or format, is damaged, holds Lambda layers other than FaceNet's, or crashes the
            reader.
        OSError: the file cannot be read.
    """
    require_h5py()
    if checksum is not None:
        with open(path, "rb") as stream:
            checksum.verify(stream, path)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "weights.safetensors"
        _run_reader(path, target)
        tensors, header = read_safetensors(target)
    if with_code := [name for name, arguments in json.loads(header["with_code"]) if not _is_facenet_sum(name, arguments)]:
        raise FileError(
            f"{path} has layers that hold code, such as {with_code[0]!r} (Lambda), and this library never runs a file's code. "
            "If they lie outside the network, save the network alone: network.save_weights(FILE)"
        )
    parts: dict[tuple[str, ...], dict[str, Tensor]] = {(): {}}
    for index, (models, layer, variable) in enumerate(json.loads(header["entries"])):
        parts.setdefault(tuple(models), {})[f"{layer}.{variable}"] = tensors[str(index)]
    return tuple(Part(models, _with_scales(_renumbered(values)), {}) for models, values in parts.items())


def _is_facenet_sum(name: str, arguments: object) -> bool:
    """Return whether a Lambda layer is one of FaceNet's: the sum of a shortcut and a scaled body, as in this library's network.

    Its name and its scale say so. Its code is not read.
    """
    match = FACENET_SUM.fullmatch(name)
    return match is not None and arguments in [{"scale": scale} for scale in FACENET_SCALES[match[1]]]


def require_h5py() -> None:
    """Check that h5py is installed.

    Raises:
        ArgumentError: it is not; the message has the command.
    """
    if importlib.util.find_spec("h5py") is None:
        raise ArgumentError('Keras files need h5py: pip install "inceptionzoo[keras]"')


def _run_reader(path: Path, target: Path) -> None:
    """Convert a Keras file to a safetensors file in another process.

    Raises:
        FileError: the process refuses the file, crashes, or takes too long.
        OSError: the file cannot be read.
    """
    seconds = SECONDS + path.stat().st_size / BYTES_PER_SECOND
    command = [sys.executable, "-P", str(READER), str(path.absolute()), str(target)]
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise FileError(f"{path} is damaged: h5py took more than {seconds:.0f} s to read it; download it again") from error
    if result.returncode == 1 and result.stdout.strip():
        raise FileError(f"{path} {result.stdout.decode(errors='replace').strip()}")
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        status = f"h5py ended with status {result.returncode} while reading it ({lines[-1][:200]})"
        raise FileError(f"{path} is damaged: {status}; download it again")


def _renumbered(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the layers that Keras named by itself numbered from 0, in the order of their numbers."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
    matches = [match for layer in layers if (match := AUTOMATIC.fullmatch(layer))]
    new: dict[str, str] = {}
    for kind in {match[1] for match in matches}:
        found = sorted((match for match in matches if match[1] == kind), key=lambda match: int(match[2] or 0))
        new |= {match[0]: f"{kind}_{index}" if index else kind for index, match in enumerate(found)}
    split = ((name.rpartition("."), value) for name, value in tensors.items())
    return {f"{new.get(layer, layer)}.{variable}": value for (layer, _, variable), value in split}


def _with_scales(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, with ones for the scales of batch normalisations that have none."""
    layers = [name.removesuffix(".moving_mean") for name in tensors if name.endswith(".moving_mean")]
    ones = {f"{layer}.gamma": torch.ones_like(tensors[f"{layer}.moving_mean"]) for layer in layers}
    return {**ones, **tensors}
