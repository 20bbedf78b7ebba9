"""Check a device argument, find the device for a task, and warn of dtypes that a device only emulates."""

from __future__ import annotations

import os
import warnings

import torch
from torch import nn

from ..errors import ArgumentError
from ..spec import Layer, Op, Style, leaves
from . import _private_torch as private_torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_device(device: str | torch.device | int | None) -> torch.device | None:
    """Return the torch device, or None for None.

    Raises:
        ArgumentError: torch does not know the device, or does not find it on this machine.
    """
    try:
        checked = None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f"device={device!r} must be a torch device, for example 'cpu' or 'cuda:0'") from error
    if checked is None or checked.type == "cpu":
        return checked
    device_count = getattr(getattr(torch, checked.type, None), "device_count", None)  # torch.cuda's, torch.mps's
    if device_count is not None and (checked.index or 0) >= device_count():
        raise ArgumentError(
            f"device={device!r} is not available: torch finds {device_count()} devices of type {checked.type!r}; use 'cpu'"
        )
    return checked


def default_accelerator() -> torch.device | None:
    """Return the current accelerator, or None if there is none. Under torchrun, LOCAL_RANK selects the device."""
    if not torch.accelerator.is_available():
        return None
    device = torch.accelerator.current_accelerator()
    rank = os.environ.get("LOCAL_RANK")
    if device is None or rank is None:
        return device
    return torch.device(device.type, int(rank) % torch.accelerator.device_count())


def is_sharded(model: nn.Module) -> bool:
    """Return whether a parameter is a DTensor, as after `fully_shard` or `parallelize_module`."""
    return any(hasattr(parameter, "full_tensor") for parameter in model.parameters())


def check_has_values(model: nn.Module) -> None:
    """Check that every parameter and buffer of a model has values.

    Raises:
        ArgumentError: one is on the meta device.
    """
    if any(tensor.is_meta for tensors in (model.parameters(), model.buffers()) for tensor in tensors):
        raise ArgumentError("the model is on the meta device and holds no weights; load or create them first")


def placeholder_device(style: Style, *layers: Layer) -> torch.device:
    """Return the device on which to build layers whose values are not needed, or are copied from elsewhere: "meta" if possible.

    It is the CPU for a user's own modules: they may not work on the meta device, or have a buffer that no state dict holds.
    """
    own_style = callable(style.norm) or callable(style.act)
    has_own_modules = own_style or any(isinstance(leaf, Op) for layer in layers for leaf in leaves(layer))
    return torch.device("cpu" if has_own_modules else "meta")


def warn_if_emulated(precision: str, device: torch.device, *, stacklevel: int) -> None:
    """Warn if `precision` is "bf16" or "fp16" and the device emulates it. `stacklevel` is that of `warnings.warn`."""
    if precision not in DTYPES:
        return
    supported, name = True, str(device)
    if device.type == "cpu":
        supported, name = private_torch.processor_supports(DTYPES[precision]), "this processor"
    elif device.type == "cuda" and precision == "bf16":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    if not supported:
        text = (
            f"precision={precision!r} is emulated on {name}, which has no {precision} instructions: it saves memory, and takes "
        )
        warnings.warn(
            f"{text}several times as long as 'fp32'. Pass precision='fp32' unless memory is short", stacklevel=stacklevel
        )
