"""Compose a network, register, train and save it, and load it in a new process."""

import argparse
import subprocess
import sys

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

import inceptionzoo as iz


def block(width: int) -> iz.Concat:
    """Return four branches of equal width: 1x1, 3x3, 1x5 with 5x1, and a max pool with 1x1."""
    cross = iz.chain(iz.Conv(width), iz.Conv(width, (1, 5)), iz.Conv(width, (5, 1)))
    kept = iz.chain(iz.Pool("max", 3), iz.Conv(width))
    return iz.concat(point=iz.Conv(width), square=iz.chain(iz.Conv(width), iz.Conv(width, 3)), cross=cross, kept=kept)


def crossnet(*, width: int = 16) -> iz.Network:
    down, wide = iz.Pool("max", 3, 2), 2 * width
    return iz.network(stem=iz.Conv(width, 3), a=block(width), down=down, b=iz.Residual(block(wide)), c=block(wide))


DATA = iz.DataConfig(input_size=(1, 8, 8), mean=(0.5,), std=(0.5,), crop_pct=1.0)
iz.register_model("crossnet", crossnet, num_classes=10, data=DATA)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", default="crossnet.safetensors")
    options = parser.parse_args()
    iz.summary("crossnet")
    digits = load_digits()
    images = torch.tensor((digits.images[:, None] / 16 - 0.5) / 0.5, dtype=torch.float32)  # as DATA says
    train, val = random_split(TensorDataset(images, torch.tensor(digits.target)), [0.8, 0.2], torch.Generator().manual_seed(0))
    model, held_out = iz.create_model("crossnet", width=24), DataLoader(val, 64)
    iz.fit(model, DataLoader(train, 64, shuffle=True), held_out, epochs=options.epochs, seed=0, progress=True)
    iz.save_weights(model, options.out, metrics={"val_accuracy": iz.evaluate(model, held_out).accuracy})
    print(f"held-out accuracy {iz.evaluate(model, held_out).accuracy:.3f}; in a new process:", flush=True)
    again = "import sys, inceptionzoo as iz; m = iz.load_model(sys.argv[1]); print(m.entry.name, m.arguments)"
    subprocess.run([sys.executable, "-c", again, options.out], check=True)
