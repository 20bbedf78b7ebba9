"""Read a Keras file with h5py, in a process of its own: `python _keras_reader.py SOURCE TARGET`.

HDF5's C library can crash on a damaged file; only this process ends then. The script imports nothing of this package. It runs
nothing of the file: it reads arrays, and from the configuration the classes and names of the layers. TARGET becomes a
safetensors file; its metadata says of each tensor in which model and layer it is, and which variable it is.
"""

import io
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_CONFIG = 2**26  # bytes
MAX_DEPTH = 8  # of models in models
VARIABLES = {  # by the class of the layer; batch normalisation without a scale has three
    "conv2d": ("kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}
Route = tuple[str, ...]  # from the outer model to a layer: names, or in the format of Keras 3 names of groups


class RefusedError(Exception):
    """A file that is not read; the text says why, and what to do."""


class Reader:
    """The arrays of a Keras file by name, and the layers that hold code."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[Route, str], Any] = {}  # by the path of the layer and its variable
        self.names: dict[Route, str] = {}  # of the models and layers that the format of Keras 3 tells
        self.with_code: list[tuple[str, Any]] = []  # name, and the arguments of a Lambda layer
        self.available = 0  # bytes of the files; what their headers announce may not be more

    def read(self, source: Path) -> None:
        """Read a .keras file, a .h5 file, or the .json file that lists a model's shards."""
        if source.suffix == ".json":
            self._read_shards(source)
        elif zipfile.is_zipfile(source):
            self._read_archive(source)
        else:
            self.available = source.stat().st_size
            with _open(source) as file:
                self._read_file(file, None)

    def _read_shards(self, source: Path) -> None:
        names: set[str] = set()
        for value in _parse(source.read_bytes()[:MAX_CONFIG]).get("weight_map", {}).values():
            names.update([value] if isinstance(value, str) else value)
        if not names or any(Path(name).name != name for name in names):
            raise RefusedError("is a JSON file that names no shards beside it; give a file of weights")
        paths = [source.with_name(name) for name in sorted(names)]
        self.available = sum(path.stat().st_size for path in paths)
        for path in paths:
            with _open(path) as file:
                self._read_layers(_Group(file), None, ())

    def _read_archive(self, source: Path) -> None:
        with zipfile.ZipFile(source) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            config, weights = entries.get("config.json"), entries.get("model.weights.h5")
            if config is None or weights is None:
                raise RefusedError("is a zip archive but not a Keras model: it has no config.json or no model.weights.h5")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in (config, weights)) or config.file_size > MAX_CONFIG:
                raise RefusedError("is compressed, so that it may expand to any size; save it again with Keras")
            self.available = weights.file_size
            parsed = _parse(archive.read(config))
            content = archive.read(weights)  # checks the checksum
        with _open(io.BytesIO(content)) as file:
            self._read_file(file, parsed)

    def _read_file(self, file: Any, config: Any) -> None:
        if isinstance(text := file.attrs.get("model_config"), str | bytes):
            config = _parse(text)
        if config is not None:
            self.with_code += _layers_with_code(config)
        root = _Group(file)
        legacy = root.group("model_weights") or root
        if names := _texts(legacy.node, "layer_names"):
            self._read_legacy(legacy, names)
        else:
            self._read_layers(root, config, ())

    def _read_legacy(self, root: "_Group", names: list[str]) -> None:
        """Read the format of Keras 1 and 2, which later versions call legacy: a group for each layer or nested model."""
        for layer in names:
            group = root.group(layer)
            if group is None:
                raise RefusedError(f"is damaged: it has no group {layer!r}, which it lists")
            variables = [(name, name.split(":")[0].split("/")) for name in _texts(group.node, "weight_names")]
            owners = {parts[-2] if len(parts) > 1 else layer for _, parts in variables}
            for name, parts in variables:
                nested = len(owners) > 1 and len(parts) > 1
                self._add((layer, parts[-2]) if nested else (layer,), parts[-1], group.array(name))

    def _read_layers(self, group: "_Group", config: Any, models: Route) -> None:
        """Read the format of Keras 3: a group for each layer, named by its class and its position among those of the class."""
        layers = group.group("layers")
        if layers is None or len(models) > MAX_DEPTH:
            raise RefusedError("is an HDF5 file but holds no layers as Keras saves them")
        configs = _by_container(config)
        for container in layers.names():
            layer, settings, path = layers.group(container), configs.get(container, {}), (*models, container)
            if layer is None:
                continue
            variables, inner = layer.group("vars"), layer.group("layers")
            given = variables.node.attrs.get("name") if variables else None  # since Keras 3.6
            if isinstance(name := given or settings.get("config", {}).get("name"), str):
                self.names[path] = name
            if inner:
                self._read_layers(layer, settings, path)
                continue
            for index, array in variables.arrays() if variables else ():
                self._add(path, f"{re.sub(r'_[0-9]+$', '', container)}.{index}", array)

    def _add(self, layer: Route, variable: str, array: Any) -> None:
        if array is None or array.dtype.kind != "f":
            return  # a state of a random generator, or text
        if (layer, variable) in self.arrays:
            raise RefusedError(f"holds two arrays {'.'.join((*layer, variable))!r}")
        self.available -= array.nbytes
        if self.available < 0:
            raise RefusedError("is damaged: its arrays have more bytes than the file; download it again")
        self.arrays[layer, variable] = array

    def named(self) -> dict[tuple[Route, str, str], Any]:
        """Return the arrays by models, layer and variable, with their dimensions in torch's order."""
        counts = Counter(layer for layer, _ in self.arrays)
        named: dict[tuple[Route, str, str], Any] = {}
        for (layer, variable), array in self.arrays.items():
            kind, _, index = variable.rpartition(".")
            names = VARIABLES.get(kind, ())
            if kind == "batch_normalization" and counts[layer] == len(names) - 1:
                names = names[1:]
            if index.isdigit() and int(index) < len(names):
                variable = names[int(index)]
            models = tuple(self.names.get(layer[: end + 1], layer[end]) for end in range(len(layer) - 1))
            name = self.names.get(layer, f"layers/{layer[-1]}" if kind else layer[-1])
            named[models, name, variable] = _as_torch(variable, array)
        return named


class _Group:
    """An HDF5 group of which only hard links to groups and arrays inside the file are followed."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def names(self) -> list[str]:
        return list(self.node)

    def group(self, name: str) -> "_Group | None":
        import h5py

        node = self._at(name)
        return _Group(node) if isinstance(node, h5py.Group) else None

    def arrays(self) -> Iterator[tuple[str, Any]]:
        for name in self.names():
            if (array := self.array(name)) is not None:
                yield name, array

    def array(self, name: str) -> Any:
        import h5py

        data = self._at(name)
        if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiub" or data.shape is None:
            return None
        if data.external or data.is_virtual:
            raise RefusedError(f"keeps the array {data.name!r} in another file; save it again with Keras")
        if data.id.get_storage_size() != data.nbytes:
            raise RefusedError(f"holds the array {data.name!r} compressed or not at all; save it again with Keras")
        return data[()]

    def _at(self, name: str) -> Any:
        import h5py

        node = self.node
        for part in name.split("/"):
            if not isinstance(node, h5py.Group) or not part:
                return None
            link = node.get(part, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise RefusedError(f"has a link {part!r} to another place or file, which is not followed")
            node = node[part]
        return node


def _open(source: Any) -> Any:
    import h5py

    return h5py.File(source, "r")


def _texts(node: Any, name: str) -> list[str]:
    """Return an attribute that is a list of texts; a long one is split into several attributes."""
    values = node.attrs.get(name)
    if values is None and f"{name}0" in node.attrs:
        count = sum(1 for key in node.attrs if re.fullmatch(rf"{name}\d+", key))
        values = [value for index in range(count) for value in node.attrs[f"{name}{index}"]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in ([] if values is None else values)]


def _parse(text: str | bytes) -> Any:
    if len(text) > MAX_CONFIG:
        raise RefusedError("has a configuration of more than 64 MiB")
    parsed = json.loads(text)
    return parsed if isinstance(parsed, dict) else {}


def _layers_of(config: Any) -> list[dict[str, Any]]:
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else inner  # a list in Keras 2.2
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _layers_with_code(config: Any) -> list[tuple[str, Any]]:
    """Return the names of the layers that hold code, which is never run: Lambda layers, and serialized functions.

    The arguments of a Lambda layer are returned too; they are data.
    """
    found = []
    for layer in _layers_of(config):
        settings = layer.get("config")
        name = str(settings.get("name") if isinstance(settings, dict) else "")
        if inner := _layers_of(layer):
            found += _layers_with_code({"config": {"layers": inner}})
        elif layer.get("class_name") == "Lambda" or '"__lambda__"' in json.dumps(settings):
            found.append((name, settings.get("arguments") if isinstance(settings, dict) else None))
    return found


def _by_container(config: Any) -> dict[str, dict[str, Any]]:
    """Return the configurations of layers by the names of their groups: the class in snake case, and a number."""
    counts: dict[str, int] = {}
    containers = {}
    for layer in _layers_of(config):
        kind = re.sub(r"\W+", "", str(layer.get("class_name")))
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
        number = counts[kind] = counts.get(kind, -1) + 1
        containers[f"{kind}_{number}" if number else kind] = layer
    return containers


def _as_torch(variable: str, array: Any) -> Any:
    """Return an array with its dimensions in torch's order: (h, w, in, out) -> (out, in, h, w), (in, out) -> (out, in)."""
    import numpy

    if variable == "depthwise_kernel" and array.ndim == 4:  # (h, w, in, multiplier) -> (in * multiplier, 1, h, w)
        height, width = array.shape[:2]
        array = array.transpose(2, 3, 0, 1).reshape(-1, 1, height, width)
    elif variable.endswith("kernel") and array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif variable == "kernel" and array.ndim == 2:
        array = array.T
    return numpy.ascontiguousarray(array)


def main(source: str, target: str) -> int:
    """Write the arrays of SOURCE to TARGET; return 0, or 1 after writing why not to stdout."""
    try:
        from safetensors.numpy import save_file

        reader = Reader()
        reader.read(Path(source))
        named = reader.named()
        entries = json.dumps([[list(models), layer, variable] for models, layer, variable in named])
        header = {"entries": entries, "with_code": json.dumps(reader.with_code)}
        save_file({str(index): array for index, array in enumerate(named.values())}, target, header)
    except RefusedError as error:
        sys.stdout.write(str(error))
        return 1
    except Exception as error:  # h5py can raise anything for a damaged file
        what = f"{type(error).__name__}: {str(error)[:200]}"
        sys.stdout.write(f"is not a Keras file or is damaged ({what}); save or download it again")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
