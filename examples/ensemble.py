"""Combine several models into an ensemble, on scikit-learn's digits.

The members are different networks, trained from different seeds. Their weights in the ensemble are fitted on separate data.
The ensemble is saved in one file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, TensorDataset, random_split

import inceptionzoo as iz

MEMBERS = ("googlenet", "vgg11_bn_cifar", "googlenet", "vgg13_bn_cifar")


def digits(seed: int) -> list[TensorDataset]:
    """Return digits for training, for fitting the weights and for testing, as noisy images (3, 32, 32).

    The noise makes the task harder.
    """
    data = load_digits()
    random = torch.Generator().manual_seed(seed)
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1
    noisy = (images + torch.randn(images.shape, generator=random)).clamp(-1, 1)
    images = interpolate(noisy, size=32, mode="bilinear").expand(-1, 3, -1, -1)
    parts = random_split(TensorDataset(images, torch.tensor(data.target)), [500, 300, 997], random)
    return [TensorDataset(*part.dataset[part.indices]) for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--members", nargs="+", default=MEMBERS, help="any of iz.list_models()")
    parser.add_argument("--out", type=Path, default=Path("runs/ensemble"))
    asked = parser.parse_args()
    train, fitted, test = digits(0)
    models, results = [], []
    for seed, name in enumerate(asked.members):
        torch.manual_seed(seed)
        model = iz.create_model(name, num_classes=10)
        model.set_input_size(32)
        model.data = replace(model.data, mean=(0.5,) * 3, std=(0.5,) * 3)  # values from -1 to 1
        iz.fit(model, DataLoader(train, 25, shuffle=True), epochs=asked.epochs, progress=False)
        models.append(model)
        results.append(iz.evaluate(model, DataLoader(test, 100)))
        print(f"{name:16} accuracy {results[-1].accuracy:.3f}, loss {results[-1].loss:.3f}")

    ensemble = iz.Ensemble(models)
    mean = sum(result.accuracy for result in results) / len(results)
    equal = iz.evaluate(ensemble, DataLoader(test, 100))
    print(f"mean of members  accuracy {mean:.3f}\nensemble         accuracy {equal.accuracy:.3f}, loss {equal.loss:.3f}")
    weights = ensemble.fit_weights(DataLoader(fitted, 100))
    weighted = iz.evaluate(ensemble, DataLoader(test, 100))
    print(f"with weights     accuracy {weighted.accuracy:.3f}, loss {weighted.loss:.3f}: {[round(w, 2) for w in weights]}")

    asked.out.mkdir(parents=True, exist_ok=True)
    ensemble.save(asked.out / "ensemble.safetensors")
    again = iz.evaluate(iz.Ensemble.load(asked.out / "ensemble.safetensors"), DataLoader(test, 100))
    print(f"saved and loaded: largest difference {float((again.probabilities - weighted.probabilities).abs().max()):.0e}")


if __name__ == "__main__":
    main()
