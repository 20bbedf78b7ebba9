"""What is measured beside inference: a step of training, and making a model at random or of a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import Net
from ..weights import exported_state_dict, save_weights
from ..zoo import create_model
from ._peers import LIBRARIES, layout_of

Job = Callable[[], Any]
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def train_networks(model: Net, *, peers: bool) -> dict[str, Callable[[], Any]]:
    """Return who trains: networks of the model's architecture in the format that `fit` uses, or torchvision's and timm's."""

    def ours(checkpointed: bool) -> nn.Module:
        assert model.entry is not None
        net = create_model(model.entry.name, num_classes=model.num_classes)
        net.set_grad_checkpointing(checkpointed)
        return net.to(memory_format=torch.channels_last)

    networks: dict[str, Callable[[], Any]] = {
        "inceptionzoo": partial(ours, False),
        "inceptionzoo, checkpointed": partial(ours, True),
    }
    for name, build in LIBRARIES.items() if peers else ():
        if layout_of(model, name):
            networks[name] = partial(build, model, drawn=True)
    return networks


def train_step(net: nn.Module, images: Tensor, precision: str = "fp32") -> Job:
    """Return a step: forward, by autocast in another precision than "fp32", backward, SGD with momentum."""
    net.to(images.device).train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)
    targets = torch.arange(len(images), device=images.device) % 2

    def step() -> None:
        with torch.autocast(images.device.type, PRECISIONS[precision], enabled=precision != "fp32"):
            loss = F.cross_entropy(net(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        optimizer.zero_grad()

    return step


def loads(model: Net, folder: Path, *, peers: bool) -> dict[str, Job]:
    """Return ways to make the model: at random, of a file of ours, and of each peer's file by us and by the peer.

    The files are written into the folder, where they are not there yet.
    """
    assert model.entry is not None
    name, classes = model.entry.name, model.num_classes
    mine = folder / "inceptionzoo.safetensors"
    if not mine.exists():
        save_weights(model, mine)
    jobs: dict[str, Job] = {
        "inceptionzoo, random": partial(create_model, name, num_classes=classes),
        "inceptionzoo, its file": partial(create_model, name, num_classes=classes, weights=mine),
    }
    for library, build in LIBRARIES.items() if peers else ():
        layout = layout_of(model, library)
        if layout is None:
            continue
        file = folder / f"{library}.safetensors"
        if not file.exists():
            save_file({key: value.contiguous() for key, value in exported_state_dict(model, layout).items()}, file)
        jobs[f"{library}, random"] = partial(build, model, drawn=True)
        jobs[f"inceptionzoo, {library}'s file"] = partial(create_model, name, num_classes=classes, weights=file)
        jobs[f"{library}, its file"] = partial(_READERS[library], model, file)
    return jobs


def _by_timm(model: Net, file: Path) -> Any:
    import timm

    assert model.entry is not None
    return timm.create_model(model.entry.name, num_classes=model.num_classes, checkpoint_path=str(file))


def _by_torchvision(model: Net, file: Path) -> Any:
    other = LIBRARIES["torchvision"](model, drawn=True)
    other.load_state_dict(load_file(file))
    return other


_READERS = {"timm": _by_timm, "torchvision": _by_torchvision}
