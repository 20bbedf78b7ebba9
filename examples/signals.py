"""Train InceptionTime, an ensemble of networks for time series, on a data set of the UCR archive.

python examples/signals.py --members 5                   # GunPoint, which the package sktime holds
python examples/signals.py --data ArrowHead --epochs 200
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

import inceptionzoo as iz


def load(name: str) -> tuple[TensorDataset, TensorDataset, list[str]]:
    """Return the series to train on, (n, 1, length), those to test on, and the names of the classes."""
    from sktime.datasets import load_UCR_UEA_dataset

    parts = [load_UCR_UEA_dataset(name, split=split, return_type="numpy3D") for split in ("train", "test")]
    names = sorted(set(parts[0][1]))
    data = [
        TensorDataset(torch.tensor(series, dtype=torch.float32), torch.tensor([names.index(label) for label in labels]))
        for series, labels in parts
    ]
    return data[0], data[1], [str(name) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default="GunPoint", help="a data set that sktime holds: GunPoint, ArrowHead, ItalyPowerDemand"
    )
    parser.add_argument("--members", type=int, default=1, help="networks of the ensemble; the paper has five")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    train, test, names = load(asked.data)
    members, scores = [], []
    for seed in range(asked.seed, asked.seed + asked.members):
        torch.manual_seed(seed)  # of the random weights
        model = iz.create_model("inception_time", num_classes=len(names))
        loader = DataLoader(train, 16, shuffle=True, drop_last=True)
        iz.fit(model, loader, epochs=asked.epochs, optimizer="adamw", lr=1e-3, seed=seed, progress=False)
        members.append(model.eval())
        scores.append(iz.evaluate(model, DataLoader(test, 256)).accuracy)
        print(f"{asked.data}, seed {seed}: accuracy {scores[-1]:.4f} on {len(test)} series", flush=True)
    if len(members) > 1:
        together = iz.evaluate(iz.Ensemble(members), DataLoader(test, 256)).accuracy
        print(f"{asked.data}: mean {np.mean(scores):.4f}, ensemble of {len(members)}: {together:.4f}")


if __name__ == "__main__":
    main()
