"""The training parts of the benchmark: a training step of GoogLeNet, and a training on digits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Literal

import torch
from gpu_forms import CHANNELS_LAST, peers
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Subset, TensorDataset

import inceptionzoo as iz
from inceptionzoo.bench._libraries import BUILDERS
from inceptionzoo.bench._runners import training_networks, training_step

EPOCHS, BATCH = 6, 32  # as in examples/learn.py, also the images that are held out


def training_steps(name: str, images: Tensor, precision: str) -> dict[str, Callable[[], None]]:
    """Return a function for each network that does one step of its training on the images, all in channels_last."""
    model = iz.create_model(name)
    own = training_networks(model, with_peers=False)
    nets = {form: own[form]() for form in ("inceptionzoo", "inceptionzoo, memory saving off")}
    for library in peers(model):
        nets[library + CHANNELS_LAST] = BUILDERS[library](model, random=True).to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    return {form: training_step(net, images, precision) for form, net in nets.items()}


def peak_memory(step: Callable[[], None], device: torch.device) -> float | None:
    """Return the memory in MiB that a step allocates beyond what is allocated before it, or None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def digits(size: int) -> tuple[str, TensorDataset, TensorDataset]:
    """Return a name and two sets of images (3, size, size) from -1 to 1 with ten classes: for training, and held out.

    They are scikit-learn's digits, or without scikit-learn made-up images.
    """
    if find_spec("sklearn"):
        from sklearn.datasets import load_digits

        data = load_digits()
        name, small, targets = "scikit-learn's digits", torch.tensor(data.images / 8 - 1), torch.tensor(data.target)
    else:
        generator = torch.Generator().manual_seed(0)
        targets = torch.randint(10, (1797,), generator=generator)
        patterns = torch.rand(10, 8, 8, generator=generator)[targets]
        name, small = "made-up images", patterns + torch.rand(1797, 8, 8, generator=generator) - 1
    images = interpolate(small.float()[:, None], size=size, mode="bilinear").expand(-1, 3, -1, -1)
    held_out = torch.arange(len(targets)) % 5 == 0
    train, test = (TensorDataset(images[chosen], targets[chosen]) for chosen in (~held_out, held_out))
    return name, train, test


def train_on_digits(device: torch.device, seconds: float, *, quick: bool) -> str:
    """Train `googlenet_cifar` by `fit` for at most about `seconds`, and return a line with the held-out accuracy."""
    size, epochs = (16, 1) if quick else (32, EPOCHS)
    name, train, test = digits(size)
    images, held_out = (Subset(train, range(3 * BATCH)), Subset(test, range(60))) if quick else (train, test)
    torch.manual_seed(0)
    model = iz.create_model("googlenet_cifar", num_classes=10)
    model.set_input_size(size)
    model.data = replace(model.data, mean=(0.5,) * 3, std=(0.5,) * 3)  # values from -1 to 1
    loader = DataLoader(images, BATCH, shuffle=True, drop_last=True)
    start = time.monotonic()

    def stop(_: nn.Module, row: dict[str, float]) -> None:
        passed = time.monotonic() - start
        if passed + passed / (row["epoch"] + 1) > seconds:  # another epoch takes too long
            raise StopIteration

    precision: Literal["fp32", "bf16"] = "bf16" if device.type == "cuda" else "fp32"
    history = iz.fit(model, loader, epochs=epochs, precision=precision, device=device, progress=False, callbacks=[stop])
    passed, result = time.monotonic() - start, iz.evaluate(model, DataLoader(held_out, 60))
    return (
        f"googlenet_cifar trained by fit on {len(images)} of {name}, {size} px, {precision}, batches of {BATCH}: "
        f"{len(history.epochs)} of {epochs} epochs in {passed:.1f} s, accuracy {result.accuracy:.3f} on "
        f"{len(result.targets)} held-out images"
    )
