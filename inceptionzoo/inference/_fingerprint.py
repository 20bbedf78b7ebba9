"""Fingerprints of weights and modules: they change when what was compiled from them is out of date."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

from torch import nn

from ..nn import private_torch

tensor_version, tensor_versions = private_torch.tensor_version, private_torch.tensor_versions
UNUSED_SETTINGS = "training", "inplace"  # outputs of a fused network do not depend on them


def conv_version(conv: Any) -> Hashable:
    """Return a value that changes when the convolution's weight, bias or settings do."""
    settings = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    return tensor_version(conv.weight), conv.bias is not None and tensor_version(conv.bias), settings


class ModelFingerprint:
    """The submodules, parameters and buffers of a module, and the versions of their values, at the time of construction.

    It also has the settings of torch's modules, and the number of their attributes: a method that was replaced on one instance
    is a new attribute. Each call of a model reads all of this again, after the feature maps have displaced it from the
    processor's caches. So it is read by few calls of C functions, and nothing is read that does not matter.
    """

    def __init__(self, module: nn.Module) -> None:
        modules = list(module.modules())
        self.contents = [table for part in modules for table in private_torch.content_tables(part) if table]
        self.hooks = [table for part in modules for table in private_torch.hook_tables(part)]
        self.attributes = [vars(part) for part in modules if type(part).__module__.startswith("torch.nn.")]
        names = [tuple(name for name in table if name[0] != "_" and name not in UNUSED_SETTINGS) for table in self.attributes]
        self.settings = [(_getter(found), table) for found, table in zip(names, self.attributes, strict=True) if found]
        self.tensors = [*module.parameters(), *module.buffers()]
        self.has_inference_tensors = any(tensor.is_inference() for tensor in self.tensors)
        self._kept = list(_values(self.contents))  # so that no other object gets the id of one of them
        self._state = self._read()

    @property
    def is_recordable(self) -> bool:
        """Whether no hook is registered now, no tensor requires a gradient, and none was made in inference mode."""
        return not (any(self.hooks) or self.has_inference_tensors or any(map(attrgetter("requires_grad"), self.tensors)))

    def is_current(self) -> bool:
        """Return whether nothing has changed; if any tensor was made in inference mode, changed values are not detected."""
        try:
            return self._read() == self._state  # equal objects are found by their identity first, which is fast
        except (KeyError, RuntimeError, ValueError):  # an attribute is missing, or became another tensor or array
            return False

    def _read(self) -> tuple[object, ...]:
        return (
            list(map(id, _values(self.contents))),
            [] if self.has_inference_tensors else tensor_versions(self.tensors),
            list(map(len, self.attributes)),
            [get(table) for get, table in self.settings],
        )


def _values(tables: Iterable[Mapping[str, object]]) -> Iterable[object]:
    return chain.from_iterable([table.values() for table in tables])


@cache
def _getter(names: tuple[str, ...]) -> Callable[[dict[str, Any]], object]:
    """Return the function that reads these items. Modules with the same names share it."""
    return itemgetter(*names)
