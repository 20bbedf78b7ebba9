"""Open the model that a command is asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ArgumentError, FileError
from ..inference import fuse
from ..nn import Net
from ..weights import WEIGHT_ENDINGS
from ..weights.download import CONFIG, is_reference
from ..zoo import Ensemble, check_takes_images, create_model, holds_ensemble, is_model, load_model
from ._checks import check_device_of_values


def open_model(options: argparse.Namespace) -> Net | Ensemble:
    """Return the model of the argument MODEL in evaluation mode, on --device, and fused if --fuse is given.

    Raises:
        ArgumentError: the device does not exist, or the model has no classifier or takes no image files.
        ZooError: the model cannot be found or read.
    """
    device = check_device_of_values(options.device)
    model = _read_model(options.model).eval()
    if not model.num_classes:
        raise ArgumentError(f"{options.model} has no classifier: num_classes=0; name weights with one")
    check_takes_images(model)
    if device is not None:
        model.to(device)
    return fuse(model) if options.fuse else model


def is_model_folder(name: str) -> bool:
    """Return whether `name` is a folder that `save_pretrained` wrote.

    Raises:
        FileError: it is another folder, or looks like a path where nothing is.
    """
    path = Path(name)
    if (path / CONFIG).is_file() or path.is_file():
        return not path.is_file()
    inside = [found.parent for found in sorted(path.glob(f"*/{CONFIG}"))]
    hint = f"; did you mean {inside[0]}?" if inside else ""
    if name and path.is_dir() and not is_model(name):
        raise FileError(f"{name} is a folder without {CONFIG}, which save_pretrained writes{hint}")
    if not path.exists() and (path.parent != Path(".") or path.suffix in WEIGHT_ENDINGS):
        raise FileError(f"{name} does not exist, and is no name of a model either; see `inceptionzoo list`")
    return False


def _read_model(name: str) -> Net | Ensemble:
    """Return the model of a file, a folder, a repository, or a registry name with its published weights."""
    if is_reference(name):
        return create_model(name)
    path = Path(name)
    if is_model_folder(name):
        return create_model(f"local-dir:{name}")
    if not path.is_file():
        return create_model(name, pretrained=True)
    if holds_ensemble(path):
        return Ensemble.load(path)
    if path.suffix != ".safetensors":
        remedy = f"make a file that does with `inceptionzoo convert {name} OUT.safetensors --architecture NAME`"
        raise FileError(f"{name} does not say which model it holds; {remedy}")
    return load_model(path)
