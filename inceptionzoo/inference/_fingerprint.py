"""Fingerprints of weights and modules: they change when what was compiled from them is out of date."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

from torch import nn

from ..nn import BATCH_NORMS, ResidualBlock, private_torch

tensor_version, tensor_versions = private_torch.tensor_version, private_torch.tensor_versions
KNOWN = "torch.nn.", "inceptionzoo."  # modules of the user's own are called in each run of a program
CONTAINERS = nn.Sequential, nn.ModuleDict, nn.ModuleList  # can be empty, and be filled later
UNUSED_SETTINGS = "training", "inplace"  # the outputs of a program do not depend on them


def conv_version(conv: Any) -> Hashable:
    """Return a value that changes when the convolution's weight, bias or settings do."""
    settings = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    return values_version(conv), settings


def values_version(layer: Any) -> Hashable:
    """Return a value that changes when the layer's weight or bias does."""
    return tensor_version(layer.weight), layer.bias is not None and tensor_version(layer.bias)


def is_known(module: nn.Module) -> bool:
    """Return whether the module is one of torch or of this library: it keeps none of its inputs, and changes nothing."""
    return type(module).__module__.startswith(KNOWN)


def is_known_per_image(module: nn.Module) -> bool:
    """Return whether each image's output of the module, without those in it, is known not to depend on the other images."""
    depends = isinstance(module, BATCH_NORMS) and (module.training or module.running_mean is None)
    return is_known(module) and not depends


class ModelFingerprint:
    """The submodules, parameters and buffers of a module, and the versions of their values, at the time of construction.

    It also has the settings of the layers and of the residual blocks, and the number of attributes of each submodule: a method
    that was replaced on one instance is a new attribute. Each call of a model reads all of this again, after the feature maps
    have displaced it from the processor's caches. So few calls of C functions read it, and compare it by identity.
    """

    def __init__(self, module: nn.Module) -> None:
        _, *self.modules = module.modules()  # without the module, which holds its fingerprint and is freed with it
        known = list(filter(is_known, self.modules))
        tables = ((part, table) for part in module.modules() for table in private_torch.content_tables(part))
        self.contents = [table for part, table in tables if table or isinstance(part, CONTAINERS)]
        self.attributes = list(map(vars, known))
        layers = [vars(part) for part in known if isinstance(part, ResidualBlock) or next(part.children(), None) is None]
        self.settings = [(_getter(names), table) for table in layers if (names := _setting_names(table))]
        self.tensors = [*module.parameters(), *module.buffers()]
        self.has_inference_tensors = any(tensor.is_inference() for tensor in self.tensors)
        # no other object gets the id of one that is kept, and no other tensor its memory
        self._kept = list(self._objects()), [tensor.detach() for tensor in self.tensors]
        self._state = self._read()

    @property
    def is_recordable(self) -> bool:
        """Whether no hook is registered now, no tensor requires a gradient, and none was made in inference mode."""
        needs_gradient = any(map(attrgetter("requires_grad"), self.tensors))
        return not (self.has_inference_tensors or needs_gradient or any(map(private_torch.has_forward_hooks, self.modules)))

    def is_current(self) -> bool:
        """Return whether nothing has changed; if any tensor was made in inference mode, changed values are not detected."""
        try:
            return self._read() == self._state
        except KeyError:  # an attribute was deleted
            return False

    def _read(self) -> tuple[list[int], ...]:
        versions = [] if self.has_inference_tensors else tensor_versions(self.tensors)
        return list(map(id, self._objects())), list(map(len, self.contents)), list(map(len, self.attributes)), versions

    def _objects(self) -> Iterable[object]:
        contents = [table.values() for table in self.contents]
        return chain(chain.from_iterable(contents), chain.from_iterable([get(table) for get, table in self.settings]))


def _setting_names(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a layer's settings and of its tables of contents; () if it has no settings."""
    public = tuple(name for name in attributes if name[0] != "_" and name not in UNUSED_SETTINGS)
    return (*private_torch.CONTENTS, *public) if public else ()


@cache
def _getter(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[object, ...]]:
    """Return the function that reads these items. Modules with the same names share it."""
    return itemgetter(*names)
