"""Memory between two pages that cannot be read or written: one float too far ends the process with SIGSEGV."""

from __future__ import annotations

import ctypes
import math
import mmap
import pkgutil
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

import inceptionzoo.kernels as cpu
from inceptionzoo.inference import _autotune, _recording

PAGE = mmap.PAGESIZE
FACTORIES = "empty", "empty_like", "zeros", "ones", "full", "stack", "empty_strided"
LIBC = ctypes.CDLL(None, use_errno=True)


class Guard:
    """An allocator of float tensors that touch the page behind them if `at_end`, else the page before them."""

    def __init__(self) -> None:
        self.at_end = True

    def floats(self, count: int) -> Tensor:
        """Return `count` floats of nan."""
        pages = max(1, -(-4 * count // PAGE))
        memory = mmap.mmap(-1, (pages + 2) * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for guard in (start, start + (pages + 1) * PAGE):
            assert LIBC.mprotect(ctypes.c_void_p(guard), PAGE, 0) == 0
        offset = (pages + 1) * PAGE - 4 * count if self.at_end else PAGE
        return torch.frombuffer(memory, dtype=torch.float32, count=count, offset=offset).fill_(math.nan)

    def empty(self, shape: Sequence[int], strides: Sequence[int] | None = None) -> Tensor:
        """Return a tensor of nan of this shape, contiguous by default."""
        if strides is None:
            return self.floats(math.prod(shape)).view(*shape)
        last = sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        return self.floats(1 + last).as_strided(shape, strides)

    def copy(self, x: Tensor) -> Tensor:
        """Return a copy of x with its strides."""
        return self.empty(x.shape, x.stride()).copy_(x)

    def move(self, model: nn.Module) -> None:
        """Move the parameters of the model to guarded memory."""
        for parameter in model.parameters():
            if parameter.numel():
                parameter.data = self.copy(parameter.data)


class GuardedTorch:
    """torch, whose functions in `FACTORIES` return guarded tensors; memory that torch leaves uninitialised is nan."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def __getattr__(self, name: str) -> Any:
        value = getattr(torch, name)
        return self.guarded(value, name.startswith("empty")) if name in FACTORIES else value

    def guarded(self, factory: Callable[..., Tensor], uninitialised: bool) -> Callable[..., Tensor]:
        def make(*args: Any, **options: Any) -> Tensor:
            x = factory(*args, **options)
            if x.dtype == torch.uint8 and uninitialised:
                return self.guard.floats(-(-x.numel() // 4)).view(torch.uint8)[: x.numel()].view(x.shape)
            if x.dtype != torch.float32 or x.is_meta or not x.numel():
                return x
            with torch.inference_mode(False):
                return self.guard.empty(x.shape, x.stride()) if uninitialised else self.guard.copy(x)

        return make


def install() -> Guard:
    """Let the kernels' code allocate guarded memory in this process; return the allocator."""
    guard = Guard()
    modules = [import_module(f"{cpu.__name__}.{item.name}") for item in pkgutil.iter_modules(cpu.__path__)]
    for module in (*modules, _autotune, _recording):
        if hasattr(module, "torch"):
            module.torch = GuardedTorch(guard)  # type: ignore[attr-defined]
    return guard
