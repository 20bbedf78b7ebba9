"""Where a model goes: torch's devices, checked before anything is put there."""

from __future__ import annotations

import os

import torch

from ..errors import ArgumentError


def check_device(device: str | torch.device | int | None) -> torch.device | None:
    """Return torch's device, or None.

    Raises:
        ArgumentError: torch knows no such device, or finds fewer of its kind.
    """
    try:
        place = None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f"device={device!r} must be a device of torch's, as 'cpu' or 'cuda:0'") from error
    if place is None or place.type == "cpu":
        return place
    count = getattr(getattr(torch, place.type, None), "device_count", None)  # torch.cuda's, torch.mps's
    if count is not None and (place.index or 0) >= count():
        raise ArgumentError(f"device={device!r} is not there: torch finds {count()} devices of {place.type!r}; use 'cpu'")
    return place


def default_accelerator() -> torch.device | None:
    """Return the accelerator that torch finds, that of this rank where torchrun has started several, or None."""
    if not torch.accelerator.is_available():
        return None
    found = torch.accelerator.current_accelerator()
    rank = os.environ.get("LOCAL_RANK")
    return found if found is None or rank is None else torch.device(found.type, int(rank) % torch.accelerator.device_count())
