"""The actions of figure 7's cases: a model, weights that fit it, and files with one fault."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from hostile import TINY, other_values
from torch import Tensor

import inceptionzoo as iz
from inceptionzoo.weights._metadata import describe_model
from inceptionzoo.weights._safetensors import MARKER, write_safetensors

OTHER = "other_for_reliability"


class Lab:
    """A model, other weights that fit it (`state`), the model that has them (`donor`), and a folder."""

    def __init__(self, model: iz.Net, folder: Path) -> None:
        self.folder, self.state, self.donor = folder, dict(other_values(model)), copy.deepcopy(model)
        self.donor.load_state_dict(self.state)
        self.use(model)

    def use(self, model: iz.Net) -> Lab:
        """Replace the model into which weights are loaded."""
        self.model, self.before = model, copy.deepcopy(model.state_dict())
        return self

    def load(self, source: object, **options: Any) -> iz.Report:
        return iz.load_weights(self.model, source, **options)

    def create(self, weights: object = None, **options: Any) -> Any:
        return iz.create_model(TINY, weights=weights, **options).report

    def put(self, key: object, value: object) -> iz.Report:
        return self.load(self.state | {key: value})

    def last(self, key: str, value: float) -> dict[str, Tensor]:
        """Return the weights with the last value of one tensor changed."""
        self.state[key].view(-1)[-1] = value
        return self.state

    def cast(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the weights with every floating-point tensor cast."""
        return {key: value.to(dtype) if value.is_floating_point() else value for key, value in self.state.items()}

    def without(self, part: str) -> dict[str, Tensor]:
        return {key: value for key, value in self.state.items() if part not in key}

    def heads(self, num_classes: int) -> dict[str, Tensor]:
        """Return weights whose head has that number of classes."""
        return iz.create_model(TINY, num_classes=num_classes).state_dict()

    # --- files ------------------------------------------------------------------------------------------------------------
    def file(self, name: str, data: bytes) -> iz.Report:
        (self.folder / name).write_bytes(data)
        return self.load(self.folder / name)

    def pth(self, state: object = None) -> bytes:
        stream = io.BytesIO()
        torch.save(self.state if state is None else state, stream)
        return stream.getvalue()

    def flipped(self, key: str) -> bytes:
        """Return a .pth file with the signs of one tensor flipped."""
        return self.pth().replace(*(value.numpy().tobytes() for value in (self.state[key], -self.state[key])))

    def rezip(self, compression: int, times: int = 1) -> bytes:
        """Return a .pth file with its entries compressed, or written more than once."""
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(self.pth())) as old, zipfile.ZipFile(stream, "w", compression) as new:
            for name in old.namelist() * times:
                new.writestr(name, old.read(name))
        return stream.getvalue()

    def ours(self, model: iz.Net | None = None, **options: Any) -> Path:
        """Return the path of a file that `save_weights` wrote."""
        iz.save_weights(model or self.donor, self.folder / "ours.safetensors", **options)
        return self.folder / "ours.safetensors"

    def other(self) -> Path:
        """Return the path of a file of another architecture."""
        iz.register_model(OTHER, iz.network(stem=iz.Conv(4, 3)), num_classes=3)
        return self.ours(iz.create_model(OTHER))

    def metadata_file(self, drop: str = "", state: Mapping[str, Tensor] | None = None, **changes: object) -> Path:
        """Return the path of a file of this library with changed metadata or other tensors."""
        metadata = json.loads(describe_model(self.donor, class_names=None, metrics=None).to_json()) | changes
        metadata.pop(drop, None)
        write_safetensors(self.folder / "metadata.safetensors", state or self.state, {MARKER: json.dumps(metadata)})
        return self.folder / "metadata.safetensors"

    def foreign(self) -> Path:
        """Return the path of a file that the safetensors package wrote."""
        safetensors.torch.save_file(self.state, self.folder / "foreign.safetensors")
        return self.folder / "foreign.safetensors"

    def header(self, change: Callable[[bytes], bytes]) -> iz.Report:
        """Load a file of the safetensors package with a header that it would not write."""
        data = safetensors.torch.save(self.state)
        size = 8 + int.from_bytes(data[:8], "little")
        head = change(data[8:size].rstrip())
        return self.file("header.safetensors", struct.pack("<Q", len(head)) + head + data[size:])

    def metadata(self, key: str, value: str) -> iz.Report:
        return self.header(lambda head: b'{"__metadata__":' + json.dumps({key: value}).encode() + b"," + head[1:])

    # --- models -----------------------------------------------------------------------------------------------------------
    def renaming(self) -> iz.Report:
        """Load weights with another library's layout."""
        layout = iz.Layout("theirs", (("head.fc.", "linear."),))
        iz.register_model(OTHER, iz.network(stem=iz.Conv(4, 3)), num_classes=3, layouts=(layout,))
        state = iz.create_model(OTHER).state_dict()
        theirs = {key.replace("head.fc.", "linear."): value for key, value in state.items()}
        return iz.create_model(OTHER, weights=theirs).report

    def exchanging(self) -> iz.Report:
        """Load dense layers into a head of convolutions."""

        def network(*, head: str = "mlp") -> iz.Network:
            return iz.network(stem=iz.Conv(4, 3), head=iz.Head(head, hidden=(6,), size=2))

        iz.register_model(OTHER, network, num_classes=3)
        return iz.create_model(OTHER, weights=iz.create_model(OTHER).state_dict(), head="conv").report

    def named(self, names: str) -> Lab:
        """Set the model's class names, one for each letter."""
        self.model.set_class_names([*names])
        return self
