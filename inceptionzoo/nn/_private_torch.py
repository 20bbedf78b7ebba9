"""Every use of torch's private interface.

No name is looked up when this module is imported. If a torch release lacks one of the names that inference needs,
`missing_names` lists it. The function of `observation_check` then returns True, and fused models use torch's public operations.
"""

from __future__ import annotations

import ctypes
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ChainedScheduler, LRScheduler, SequentialLR

FUNCTORCH = "torch._C:_are_functorch_transforms_active"
FORWARD_AD_LEVEL = "torch.autograd.forward_ad:_current_level"
GLOBAL_HOOKS = "torch.nn.modules.module:_has_any_global_hook"
DISPATCH_MODE = "torch.utils._python_dispatch:_get_current_dispatch_mode"
VERSION = "torch:Tensor._version"
ONEDNN_CONVOLUTION = "torch:ops.mkldnn._convolution_pointwise"
ONEDNN_WEIGHT = "torch:ops.mkldnn._reorder_convolution_weight"
IS_FUNCTIONAL = "torch:_is_functional_tensor"
ONEDNN_DTYPES = {
    torch.bfloat16: "torch:ops.mkldnn._is_mkldnn_bf16_supported",
    torch.float16: "torch:ops.mkldnn._is_mkldnn_fp16_supported",
}

INFERENCE_NAMES = (FUNCTORCH, FORWARD_AD_LEVEL, GLOBAL_HOOKS, DISPATCH_MODE, VERSION)
ONEDNN_NAMES = ONEDNN_CONVOLUTION, ONEDNN_WEIGHT  # only a torch that was built with oneDNN has these
HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
METHODS = frozenset({"forward", "_conv_forward"})  # that compute the output of a convolution, pool or activation
COMPILED_MODULE = "_orig_mod"  # the attribute under which `torch.compile(model)` keeps the model
CONTENTS = "_modules", "_parameters", "_buffers"
MODULE_ATTRIBUTES = (*HOOKS, *CONTENTS)


@cache
def _exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@cache
def missing_names() -> tuple[str, ...]:
    """Return the private names that inference needs and this torch lacks."""
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    names = [name for name in INFERENCE_NAMES + ONEDNN_NAMES * onednn if not _exists(name)]
    module = nn.Module()
    names += [f"torch.nn.Module.{name}" for name in MODULE_ATTRIBUTES if not hasattr(module, name)]
    return tuple(name.replace(":", ".") for name in names)


@cache
def observation_check() -> Callable[[], bool]:
    """Return a function that tells whether anything observes or transforms the operations that torch runs.

    The function returns True inside a functorch transform, forward-mode differentiation or a dispatch mode, and if a global
    module hook is registered. If there are `missing_names`, it always returns True. It is called in every forward pass.
    """
    if missing_names():
        return lambda: True
    functorch_active, has_global_hook, dispatch_mode = map(pkgutil.resolve_name, (FUNCTORCH, GLOBAL_HOOKS, DISPATCH_MODE))
    forward_ad = pkgutil.resolve_name(FORWARD_AD_LEVEL.partition(":")[0])

    def is_observed() -> bool:
        return bool(
            functorch_active() or forward_ad._current_level >= 0 or dispatch_mode() is not None or has_global_hook()
        )  # fmt: skip

    return is_observed


def tensor_version(tensor: Tensor) -> tuple[int, int]:
    """Return a value that changes when the tensor's memory is replaced or written, except by writes through `.data`."""
    return tensor.data_ptr(), tensor._version


def tensor_versions(tensors: Sequence[Tensor]) -> list[int]:
    """Return values that change when `tensor_version` of a tensor does; they take less time to compute."""
    return [*map(Tensor.data_ptr, tensors), *map(attrgetter("_version"), tensors)]


def has_forward_hooks(module: nn.Module) -> bool:
    """Return whether the module has forward hooks or forward pre-hooks."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def is_patched(module: nn.Module) -> bool:
    """Return whether the module has forward hooks or forward pre-hooks, or computes its output by a method of its own."""
    return has_forward_hooks(module) or not METHODS.isdisjoint(vars(module))


def is_hooked(module: nn.Module | None) -> bool:
    """Return whether the module has a hook of any kind, or is patched. Call it in each forward pass."""
    return module is not None and bool(is_patched(module) or module._backward_hooks or module._backward_pre_hooks)


def hook_names(module: nn.Module) -> list[str]:
    """Return the names of the hooks that are registered on the module."""
    hooks = [hook for table in HOOKS for hook in getattr(module, table, {}).values()]
    return [getattr(hook, "__qualname__", type(hook).__qualname__) for hook in hooks]


def content_tables(module: nn.Module) -> tuple[Mapping[str, Any], ...]:
    """Return the module's children, parameters and buffers by name. The dicts change with later assignments."""
    return tuple(vars(module)[name] for name in CONTENTS)


def has_onednn_operations() -> bool:
    """Return whether this torch has the oneDNN operations that torch.compile uses."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(map(_exists, ONEDNN_NAMES))


def onednn_weight(
    weight: Tensor, padding: list[int], stride: list[int], dilation: list[int], groups: int, shape: Sequence[int]
) -> Tensor:
    """Return a convolution's weight in the layout that oneDNN prefers for inputs of `shape`."""
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, padding, stride, dilation, groups, list(shape))
    return packed


def onednn_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: list[int], dilation: list[int], groups: int
) -> Tensor:
    """Return the convolution of x with a weight that `onednn_weight` returned."""
    y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, stride, dilation, groups, "none", [], "")
    return y


def processor_supports(dtype: torch.dtype) -> bool:
    """Return whether the processor has instructions for bfloat16 or float16; torch emulates a dtype without them.

    If this torch cannot tell, every processor with AVX-512 counts as one with bfloat16, and none as one with float16.
    """
    name = ONEDNN_DTYPES[dtype]
    if _exists(name):
        return bool(pkgutil.resolve_name(name)())
    return dtype is torch.bfloat16 and "AVX512" in torch.backends.cpu.get_cpu_capability()


def combined_schedulers(scheduler: LRScheduler) -> list[tuple[int, LRScheduler]]:
    """Return the schedulers that decide the end of a SequentialLR or ChainedScheduler, each with the step at which it starts.

    Of a SequentialLR this is the last one. The list is empty for other schedulers, and if this torch has other attributes.
    """
    parts: list[LRScheduler] = getattr(scheduler, "_schedulers", [])
    if isinstance(scheduler, ChainedScheduler):
        return [(0, part) for part in parts]
    milestones: list[int] = getattr(scheduler, "_milestones", [])
    return [(milestones[-1], parts[-1])] if isinstance(scheduler, SequentialLR) and parts and milestones else []


def is_functional_tensor(tensor: Tensor) -> bool:
    """Return whether a tensor is a wrapper of torch's functionalization; False if this torch cannot tell."""
    return _exists(IS_FUNCTIONAL) and bool(torch._is_functional_tensor(tensor))


def uncompiled(model: object) -> object:
    """Return the module that `torch.compile(model)` wraps, or the model if it is not compiled."""
    return getattr(model, COMPILED_MODULE, model)


@cache
def openmp() -> Any:
    """Return the OpenMP library that torch uses. A second library's threads would compete with its threads.

    Raises:
        AttributeError, OSError, ValueError: torch is not built with GNU's OpenMP interface.
    """
    (path,) = (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")
    library = ctypes.CDLL(str(path))
    library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    library.GOMP_parallel.restype = None
    return library
