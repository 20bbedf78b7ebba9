"""State dicts as JSON values and tensors, the content of a file without a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy
from torch import Tensor

from ..errors import ArgumentError


def as_json_value(name: str, value: Any) -> Any:
    """Return a value that JSON can hold.

    Raises:
        ArgumentError: JSON cannot hold the value; `name` says which one it is.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Real):  # NumPy scalars too
        return float(value)
    raise ArgumentError(f"{name}={value!r} cannot be saved in out for resuming; pass out=None, and save the model yourself")


def split_tensors(state: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a state dict as JSON values; each tensor is added to `tensors` and replaced by its name there."""
    if isinstance(state, Tensor):
        tensors[name] = state
        return {"tensor": name}
    if isinstance(state, Mapping):
        items = [[as_json_value(name, key), split_tensors(value, f"{name}.{key}", tensors)] for key, value in state.items()]
        return {"dict": items}
    if isinstance(state, list | tuple):
        kind = "tuple" if isinstance(state, tuple) else "list"  # files of version 0.1 have lists only
        return {kind: [split_tensors(value, f"{name}.{index}", tensors) for index, value in enumerate(state)]}
    if isinstance(state, numpy.generic):  # of its type: learning rates of numpy.float32 are multiplied in 32 bits
        return {"numpy": [state.dtype.name, as_json_value(name, state.item())]}
    return {"value": as_json_value(name, state)}


def join_tensors(state: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the state dict that `split_tensors` has split."""
    ((kind, value),) = state.items()
    match kind:
        case "tensor":
            return tensors[value]
        case "dict":
            return {key: join_tensors(item, tensors) for key, item in value}
        case "list":
            return [join_tensors(item, tensors) for item in value]
        case "tuple":
            return tuple(join_tensors(item, tensors) for item in value)
        case "numpy":
            return numpy.dtype(value[0]).type(value[1])
        case _:
            return value
