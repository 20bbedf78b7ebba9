"""Check a device argument, and find the default accelerator."""

from __future__ import annotations

import os

import torch

from ..errors import ArgumentError


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
