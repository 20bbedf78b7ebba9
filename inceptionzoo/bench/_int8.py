"""The network in the int8 forms of ONNX Runtime and OpenVINO, calibrated on images."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..nn import Net
from ..zoo import image_paths, transforms
from ._libraries import Call, export_onnx, installed_runtimes, onnxruntime_call, openvino_call
from ._machine import has_vnni

Batches = list[Tensor]
MAX_IMAGES = 256  # of the folder, half of them to calibrate with


def find_images(folder: str | os.PathLike[str], batch: int) -> list[str]:
    """Return the paths of at most `MAX_IMAGES` images of a folder, evenly spread over its classes.

    Raises:
        ArgumentError: no library is installed that can quantise a network, or the images do not fill two batches.
    """
    if not quantizers():
        raise ArgumentError("bench: int8 needs onnxruntime and onnxscript, or also openvino and nncf; install them with pip")
    paths = image_paths(Path(folder))
    count = min(len(paths), MAX_IMAGES)
    if count < 2 * batch:
        raise ArgumentError(f"int8={os.fspath(folder)!r} has {count} images; a batch of {batch} needs {2 * batch} or more")
    return [paths[index * len(paths) // count] for index in range(count)]


def quantizers() -> list[str]:
    """Return the names of the installed runtimes that can quantise a network."""
    return [name for name in installed_runtimes() if name != "openvino" or find_spec("nncf")]


def read_batches(model: Net, paths: Sequence[str], batch: int, sides: tuple[int, ...]) -> tuple[Batches, Batches]:
    """Return two lists of batches (n, c, h, w) of images: to calibrate with, and to compare labels on.

    The images have these sides. Every other one is in the first list. Those that fill no batch are left out.

    Raises:
        ImageError: a file is not an image, or is damaged.
    """
    transform = transforms(model, input_size=(model.in_chans, *sides))
    images = [transform(path) for path in paths]
    halves = ([half[start : start + batch] for start in range(0, len(half), batch)] for half in (images[::2], images[1::2]))
    calibration, comparison = ([torch.stack(part) for part in half if len(part) == batch] for half in halves)
    return calibration, comparison


def int8_runners(model: Net, batches: Sequence[Tensor]) -> Iterator[tuple[str, Call]]:
    """Yield the name of each runtime, and a function that runs the model in int8, calibrated on the batches."""
    data, installed = export_onnx(model, batches[0]), quantizers()
    if "onnxruntime" in installed:
        yield "ONNX Runtime, int8", onnxruntime_call(_quantize_onnx(data, batches))
    if "openvino" in installed:
        yield "OpenVINO, int8", openvino_call(_quantize_openvino(data, batches))


def label_agreement(runners: Mapping[str, Call], model: Net, batches: Sequence[Tensor]) -> dict[str, float]:
    """Return for each runner the share of images whose label is the model's: the largest output, or the sign of a single."""

    def labels(run: Call) -> Tensor:
        outputs = torch.cat([run(batch) for batch in batches])
        return outputs.argmax(1) if outputs.shape[1] > 1 else outputs[:, 0] > 0

    with torch.inference_mode():
        expected = labels(model)
        return {name: float((labels(run) == expected).float().mean()) for name, run in runners.items()}


def _quantize_onnx(data: bytes, batches: Sequence[Tensor]) -> bytes:
    """Return an ONNX file in int8, with a scale for each output channel.

    Without VNNI, sums of products of two 8-bit numbers overflow, so weights have 7 bits then, as ONNX Runtime recommends.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self.name, self.rest = _input_name(data), iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.rest, None)
            return None if batch is None else {self.name: batch.numpy()}

    with tempfile.TemporaryDirectory() as name:
        source, prepared, quantized = (Path(name, f"{step}.onnx") for step in ("source", "prepared", "quantized"))
        source.write_bytes(data)
        quant_pre_process(source, prepared)
        settings = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "reduce_range": not has_vnni()}
        quantize_static(prepared, quantized, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **settings)
        return quantized.read_bytes()


def _input_name(data: bytes) -> str:
    import onnx

    name: str = onnx.load_from_string(data).graph.input[0].name
    return name


def _quantize_openvino(data: bytes, batches: Sequence[Tensor]) -> Any:
    """Return a network of OpenVINO in int8."""
    import nncf
    import openvino

    arrays = [batch.numpy() for batch in batches]
    return nncf.quantize(openvino.Core().read_model(data), nncf.Dataset(arrays), subset_size=len(arrays))
