"""Train I3D on clips of a digit that moves left, right, up or down. No single frame shows which.

python examples/clips.py
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import inceptionzoo as iz

FRAMES, SIDE, DIGIT, STEP = 8, 48, 16, 3  # frames, pixels of a frame, pixels of a digit, pixels that it moves in a frame
NAMES = ("left", "right", "up", "down")


def clip(digit: Tensor, direction: int, generator: torch.Generator) -> Tensor:
    """Return a clip (1, frames, height, width) of a digit that starts anywhere from where it stays inside the frames."""
    span = STEP * (FRAMES - 1)
    along, across = (int(torch.randint(SIDE - DIGIT - room + 1, (1,), generator=generator)) for room in (span, 0))
    frames = torch.zeros(1, FRAMES, SIDE, SIDE)
    for frame in range(FRAMES):
        moved = along + (STEP * frame if direction % 2 else span - STEP * frame)
        top, left = (across, moved) if direction < 2 else (moved, across)
        frames[0, frame, top : top + DIGIT, left : left + DIGIT] = digit
    return frames


def make_clips(digits: Tensor, count: int, seed: int) -> TensorDataset:
    """Return clips of randomly chosen digits, (n, 1, frames, height, width), and their directions."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(digits), (count,), generator=generator)
    directions = torch.arange(count) % len(NAMES)
    clips = [clip(digits[which], int(way), generator) for which, way in zip(chosen, directions, strict=True)]
    return TensorDataset(torch.stack(clips), directions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=256, help="number of clips to train on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    images = torch.tensor(load_digits().images / 8 - 1, dtype=torch.float32)
    digits = images.repeat_interleave(DIGIT // 8, 1).repeat_interleave(DIGIT // 8, 2)
    train, test = make_clips(digits[:1400], asked.clips, asked.seed), make_clips(digits[1400:], 200, asked.seed + 1)
    torch.manual_seed(asked.seed)
    model = iz.create_model("i3d", in_chans=1, num_classes=len(NAMES), window=None)
    model.class_names = NAMES
    loader = DataLoader(train, 16, shuffle=True, drop_last=True)
    iz.fit(model, loader, epochs=asked.epochs, optimizer="adamw", lr=1e-3, seed=asked.seed, progress=False)
    print(iz.evaluate(model, DataLoader(test, 32)))


if __name__ == "__main__":
    main()
