"""What a user does with a trained file: load, convert, answer for photos, fuse, save, load again."""

from pathlib import Path

import torch
from helpers import distance, one_thread
from torch import Tensor

import inceptionzoo as iz

AGREES, FUSED = 1e-5, 1e-4  # of the largest value


@one_thread()
@torch.no_grad()
def check_whole_way(model: iz.Net, x: Tensor, expected: Tensor, weights: Path | dict[str, Tensor], folder: Path) -> None:
    """Check the last map of a model without head, which was loaded from `weights`, and of its copies, for the images x."""
    y = model.eval().forward_features(x)
    apart, fused_apart = distance(y, expected), distance(iz.fuse(model).forward_features(x), expected)
    print(f"{tuple(x.shape)}: {apart:.1e}, fused {fused_apart:.1e}")
    assert apart < AGREES
    assert fused_apart < FUSED
    iz.save_weights(model, folder / "model.safetensors")
    again = iz.load_model(folder / "model.safetensors")
    assert again.forward_features(x).equal(y)
    if isinstance(weights, Path):
        iz.convert(weights, folder / "converted.safetensors", architecture=model.entry.name)
        converted = iz.load_model(folder / "converted.safetensors").eval()
        assert converted.forward_features(x).equal(y)
