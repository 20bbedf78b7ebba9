"""TF-slim's own networks, run by TensorFlow in a process of its own, beside ours: same weights, every endpoint."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import distance, one_thread, outputs

from inceptionzoo.models.bn_inception import inception_v2
from inceptionzoo.models.googlenet import googlenet
from inceptionzoo.models.inception_v3 import inception_v3
from inceptionzoo.nn._build import build_network, with_aux
from inceptionzoo.nn._net import Net
from inceptionzoo.spec._variants import apply_variants

REFERENCE = Path(__file__).with_name("tf_slim_reference.py")
CASES = {  # slim's name: ours, and the side of the images; stages follow each other as slim's endpoints do
    "inception_v1": (apply_variants(googlenet(), padding="same"), 224),
    "inception_v2": (inception_v2(), 224),
    "inception_v3": (inception_v3(include_pad=False), 299),
}
INSIDE = ("Conv2d_2b_1x1", "PreLogits")  # in the middle of one of our stages

pytestmark = pytest.mark.full


def run_slim(name: str, side: int, folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the images, and what slim's process answers."""
    x = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype(np.float32)
    np.save(folder / "x.npy", x)
    command = [sys.executable, REFERENCE, name, folder / "x.npy", folder / "out.npz"]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}  # the other tests run Keras on torch
    subprocess.run(command, check=True, capture_output=True, timeout=600, env=environment)
    with np.load(folder / "out.npz") as answer:
        return x, dict(answer)


def weights(name: str, array: np.ndarray) -> torch.Tensor:
    """Return torch's layout of a variable: kernels are (h, w, in, out), depthwise ones (h, w, channels, multiplier)."""
    if array.ndim < 4:
        return torch.from_numpy(array)
    kernel = torch.from_numpy(array).permute(2, 3, 0, 1)
    return kernel.flatten(0, 1).unsqueeze(1) if name.endswith("depthwise_weights") else kernel.transpose(0, 1)


@torch.no_grad()
def load(model: Net, variables: dict[str, np.ndarray]) -> None:
    """Copy slim's variables in the order in which both make their layers; slim's normalisation has no gamma."""
    parts = [model.features, *([model.aux] if model.aux else []), model.head]
    ours = [item for part in parts for item in part.state_dict().items() if not item[0].endswith(("bn.weight", "tracked"))]
    for (key, tensor), (name, array) in zip(ours, variables.items(), strict=True):
        value = weights(name, array)
        tensor.copy_(value.flatten(1) if key.endswith("fc.weight") else value)


@pytest.mark.parametrize("name", CASES)
@one_thread()
def test_equals_slim_at_every_endpoint(name, tmp_path):
    network, side = CASES[name]
    x, answer = run_slim(name, side, tmp_path)
    endpoints = {key.removeprefix("endpoint:"): array for key, array in answer.items() if key.startswith("endpoint:")}
    model = build_network(network, num_classes=10)
    model = (with_aux(model) if "AuxLogits" in endpoints else model).eval()
    load(model, {key: array for key, array in answer.items() if not key.startswith("endpoint:")})
    images = torch.from_numpy(x).permute(0, 3, 1, 2)
    seen = outputs(dict(model.features.named_children()), lambda: model(images))
    maps = [key for key, array in endpoints.items() if array.ndim == 4 and key not in INSIDE]
    for key, (stage, value) in zip(maps, seen.items(), strict=True):
        assert distance(value, torch.from_numpy(endpoints[key]).permute(0, 3, 1, 2)) < 1e-5, (key, stage)
    with torch.no_grad():
        logits, *aux = [model(images)] if model.aux is None else [model(images), *model.forward_aux(images)[1].values()]
    assert distance(logits, torch.from_numpy(endpoints["Logits"])) < 1e-5
    for value in aux:
        assert distance(value, torch.from_numpy(endpoints["AuxLogits"])) < 1e-5
