"""The fast implementations that this installation can run."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from ..nn import private_torch


@cache
def has_onednn() -> bool:
    """Return whether this torch has the oneDNN operations that torch.compile uses."""
    return private_torch.has_onednn_operations()


@cache
def has_jit() -> bool:
    """Return whether kernels can be compiled and run: this needs oneDNN, a recent llvmlite and torch's OpenMP library."""
    if not has_onednn() or find_spec("llvmlite") is None:
        return False
    try:
        from ._jit import openmp
        from ._max_pool import max_pool_kernel

        openmp()
        max_pool_kernel((1, 2), (1, 1), 1)  # the smallest kernel; an older llvmlite cannot compile it
    except Exception:
        return False
    return True
