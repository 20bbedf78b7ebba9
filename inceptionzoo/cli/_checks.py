"""Checks of the arguments of commands."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TypeVar

import torch

from ..errors import ArgumentError
from ..nn import check_device

Number = TypeVar("Number", int, float)


def check_target_folder(option: str, target: str | None) -> None:
    """Check that the folder of a file to write exists.

    Raises:
        ArgumentError: it does not. The message names the option.
    """
    if target is not None and not Path(target).parent.is_dir():
        raise ArgumentError(f"{option} {target}: the folder {Path(target).parent} does not exist; create it")


def path(text: str) -> str:
    """Return a path that is not empty, for argparse. An empty one, as of an unset variable, would be the current folder."""
    if not text:
        raise ArgumentTypeError("the path is empty; pass one, and check the variable that should hold it")
    return text


def positive_int(text: str) -> int:
    """Return a positive int, for argparse."""
    return _parse(int, text, "an int of at least 1", 1)


def count(text: str) -> int:
    """Return an int of 0 or more, for argparse."""
    return _parse(int, text, "an int of at least 0", 0)


def seed(text: str) -> int:
    """Return a seed that torch accepts, for argparse."""
    return _parse(int, text, "an int from 0 to 2**63 - 1", 0, 2**63 - 1)


def rate(text: str) -> float:
    """Return a number from 0 to below 1, for argparse."""
    return _parse(float, text, "a number of at least 0 and below 1", 0, 1 - sys.float_info.epsilon)


def number(text: str) -> float:
    """Return a finite number of 0 or more, for argparse."""
    return _parse(float, text, "a finite number of at least 0", 0)


def _parse(kind: type[Number], text: str, form: str, low: float, high: float = sys.float_info.max) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:  # False for nan
        raise ArgumentTypeError(f"{text!r} must be {form}")  # argparse names the argument
    return value


def check_device_of_values(option: str | None) -> torch.device | None:
    """Return the device of --device, or None if the option was not given.

    Raises:
        ArgumentError: it is not available, or holds no values.
    """
    device = check_device(option)
    if device is not None and device.type == "meta":
        raise ArgumentError(f"--device {option} holds no values; use cpu or a GPU")
    return device
