"""Fingerprints of weights and modules: they change when what was compiled from them is out of date."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from torch import nn

from ..nn import private_torch
from ._conditions import is_frozen

tensor_version = private_torch.tensor_version


def conv_version(conv: Any) -> Hashable:
    """Return a value that changes when the convolution's weight, bias or settings do."""
    settings = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    return tensor_version(conv.weight), conv.bias is not None and tensor_version(conv.bias), settings


class ModelFingerprint:
    """The submodules, parameters and buffers of a module, and the versions of their values, at the time of construction.

    It also has the attributes of torch's modules: their settings, and methods that were replaced on one instance.
    """

    def __init__(self, module: nn.Module) -> None:
        modules = list(module.modules())
        tables = [table for part in modules for table in private_torch.content_tables(part) if table]
        self.contents = [(table, list(table.values())) for table in tables]
        self.identities = [list(map(id, values)) for _, values in self.contents]
        self.attributes = [vars(part) for part in modules if type(part).__module__.startswith("torch.nn.")]
        self.settings = list(map(dict, self.attributes))
        self.hooks = [table for part in modules for table in private_torch.hook_tables(part)]
        self.tensors = [*module.parameters(), *module.buffers()]
        self.has_inference_tensors = any(tensor.is_inference() for tensor in self.tensors)
        self.versions = [] if self.has_inference_tensors else list(map(tensor_version, self.tensors))

    @property
    def is_recordable(self) -> bool:
        """Whether no hook is registered now and every tensor is frozen."""
        return not any(self.hooks) and all(map(is_frozen, self.tensors))

    def is_current(self) -> bool:
        """Return whether nothing has changed; if any tensor was made in inference mode, changed values are not detected."""
        found = [list(map(id, table.values())) for table, _ in self.contents]
        if found != self.identities or (self.versions and list(map(tensor_version, self.tensors)) != self.versions):
            return False
        try:
            return self.attributes == self.settings  # equal objects are found by their identity first, which is fast
        except (RuntimeError, ValueError):  # an attribute became another tensor or array
            return False
