"""Check that this machine can run tools/gpu.sh, and describe it: GPU, driver, versions, date."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec

REQUIRED = {  # the module of each package
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "safetensors": "safetensors",
    "torchmetrics": "torchmetrics",
    "tqdm": "tqdm",
    "pytest": "pytest",
}
OPTIONAL = {  # and what is left out without it
    "timm": "the rows of timm",
    "sklearn": "scikit-learn's digits; made-up images replace them",
}


def missing_packages() -> list[str]:
    """Return the names of the required packages that are not installed."""
    return [package for package, module in REQUIRED.items() if find_spec(module) is None]


def check(device: str) -> str | None:
    """Return why the tests and the benchmark cannot run on a device, or None if they can."""
    if missing := missing_packages():
        names = ", ".join(missing)
        return f"these packages are not installed: {names}; run {sys.executable} -m pip install {' '.join(missing)}"
    import torch

    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA GPU; INCEPTIONZOO_TEST_DEVICE=cpu runs everything on the CPU"
    return None


def driver() -> str:
    """Return the version of NVIDIA's driver, or "unknown"."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer[0] if answer else "unknown"


def describe(device: str) -> list[str]:
    """Return lines about the date, the device and the versions of packages. The required packages must be installed."""
    import torch

    from inceptionzoo.bench._machine import describe_machine

    target = torch.device(device)
    machine = describe_machine(target, 0.0)
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    lines = [
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"processor: {machine.processor}, {machine.cores} cores, {machine.threads} threads of torch",
        f"versions: Python {platform.python_version()}, {versions}",
    ]
    if target.type == "cuda":
        memory = torch.cuda.get_device_properties(target).total_memory / 2**30
        libraries = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
        lines.insert(1, f"GPU: {machine.device}, {memory:.0f} GiB, driver {driver()}, {libraries}")
    absent = [f"{name} ({effect})" for name, effect in OPTIONAL.items() if find_spec(name) is None]
    return lines + [f"not installed, and left out: {', '.join(absent)}"] * bool(absent)


def main() -> int:
    """Print the description, or the reason why nothing can run, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    if reason := check(device):
        print(reason, file=sys.stderr)
        return 2
    print("\n".join(describe(device)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
