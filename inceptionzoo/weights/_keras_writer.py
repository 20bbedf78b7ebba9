"""Write weights as an HDF5 file that Keras loads."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy
from torch import Tensor

from ..spec import KerasLayout
from ._atomic import atomic_write
from ._keras import require_h5py

ORDER = "depthwise_kernel", "pointwise_kernel", "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"


def write_keras(path: Path, tensors: Mapping[str, Tensor], layout: KerasLayout) -> None:
    """Write tensors, by names of a layout, in the format that all versions of Keras load with `Model.load_weights`.

    Raises:
        ArgumentError: h5py is not installed.
        OSError: the write fails; an old file at `path` is unchanged.
    """
    require_h5py()
    import h5py

    layers: dict[str, dict[str, Tensor]] = {layer: {} for layer in layout.layers}
    for name, value in tensors.items():
        layer, _, variable = name.rpartition(".")
        layers[layer][variable] = value
    layers = {layer: variables for layer, variables in layers.items() if variables}
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, variables in layers.items():
            group, names = file.create_group(layer), sorted(variables, key=ORDER.index)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in names]
            for name in names:
                group[f"{layer}/{name}:0"] = _as_keras(name, variables[name].numpy())
    with atomic_write(path) as stream:
        stream.write(content.getbuffer())


def fold_scales(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the scales of batch normalisation, which are multiplied into the weights before it.

    The outputs stay the same up to rounding: scale * (W x - mean) = (scale * W) x - scale * mean.
    """
    folded = dict(tensors)
    for key in [key for key in folded if key.endswith((".bn.weight", ".bn1.weight"))]:
        scale, mean = folded.pop(key), key.replace(".weight", ".running_mean")
        kernel = key.replace(".bn.", ".conv.").replace(".bn1.", ".fc1.")  # a convolution, or the dense layer of a head
        folded[kernel] = folded[kernel] * scale.reshape(-1, *[1] * (folded[kernel].ndim - 1))
        folded[mean] = folded[mean] * scale
    return folded


def _as_keras(variable: str, array: numpy.ndarray) -> numpy.ndarray:
    """Return an array with its dimensions in Keras's order; the inverse of `_keras_reader._as_torch`."""
    if variable == "depthwise_kernel":  # (in, 1, h, w) -> (h, w, in, 1)
        return array.transpose(2, 3, 0, 1)
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T
