"""The machine that a benchmark runs on: processor, versions, and how busy it is."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

MAX_LOAD = 0.5  # cores that other processes may use before the machine counts as busy
PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "openvino", "llvmlite")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a benchmark. `load` is the number of cores that other processes used; `versions` are of packages."""

    processor: str
    cores: int
    threads: int
    device: str
    load: float
    versions: Mapping[str, str]

    @property
    def busy(self) -> bool:
        """Whether other processes used more than half a core."""
        return self.load > MAX_LOAD


def describe_machine(device: torch.device, load: float) -> Machine:
    """Return the description of this machine; `load` is the number of cores that other processes used."""
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    versions = {name: version for name in PACKAGES if (version := _version(name))}
    return Machine(_processor(), os.cpu_count() or 1, torch.get_num_threads(), device_name, load, versions)


def background_load(seconds: float = 1.0) -> float:
    """Return the mean number of cores that other processes use during the next `seconds`.

    On systems without /proc/stat, return the load average of the last minute.
    """
    before = _cpu_ticks()
    if before is None:
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.inf
    time.sleep(seconds)
    after = _cpu_ticks()
    assert after is not None
    return (after - before) / os.sysconf("SC_CLK_TCK") / seconds


def _cpu_ticks() -> int | None:
    """Return the CPU time of all processes since boot in clock ticks: user, nice and system time."""
    try:
        fields = Path("/proc/stat").read_text().split()
    except OSError:
        return None
    return sum(map(int, fields[1:4]))


def has_vnni() -> bool:
    """Return whether the processor multiplies 8-bit numbers and adds the products in 32 bits; False if that is unknown."""
    return bool({"avx512_vnni", "avx_vnni"} & set(_cpu_info("flags").split()))


def _processor() -> str:
    return _cpu_info("model name") or platform.processor()


def _cpu_info(field: str) -> str:
    """Return what Linux says about the first processor, or "" if it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
