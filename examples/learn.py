"""Train every model on scikit-learn's digits, from random weights, with the optimizer settings of its registry entry.

python examples/learn.py                                  # all models for images, at 32, 75 or 107 px
python examples/learn.py --models vgg19 googlenet_paper --epochs 10
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, TensorDataset

import inceptionzoo as iz

SIZES = (32, 75)  # image sides in pixels; the first that is large enough for the network is used
LARGER = {"inception_v4": 107}  # the last feature map then has 2x2 px; with 1x1 px, the model does not learn


def digits(size: int) -> tuple[TensorDataset, TensorDataset]:
    """Return scikit-learn's digits, 1,437 for training and 360 held out, as images (3, size, size) with values from -1 to 1."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1
    images = interpolate(images, size=size, mode="bilinear").expand(-1, 3, -1, -1)
    targets = torch.tensor(data.target)
    held_out = torch.arange(len(targets)) % 5 == 0
    parts: list[tuple[Tensor, Tensor]] = [(images[chosen], targets[chosen]) for chosen in (~held_out, held_out)]
    return TensorDataset(*parts[0]), TensorDataset(*parts[1])


def learn(name: str, epochs: int, seed: int) -> tuple[int, iz.Result, float]:
    """Train a model. Return the image side in pixels, the result on the held-out digits, and the seconds of training."""
    torch.manual_seed(seed)
    model = iz.create_model(name, num_classes=10)
    size = LARGER.get(name) or next(size for size in SIZES if size >= model.min_input_size)
    model.set_input_size(size)
    model.data = replace(model.data, mean=(0.5,) * 3, std=(0.5,) * 3)  # values from -1 to 1
    train, test = digits(size)
    start = time.perf_counter()
    iz.fit(model, DataLoader(train, 32, shuffle=True, drop_last=True), epochs=epochs, progress=False)
    return size, iz.evaluate(model, DataLoader(test, 60)), time.perf_counter() - start


IMAGE_MODELS = [name for name in iz.list_models() if len(iz.model_info(name).input_size) == 3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=IMAGE_MODELS)
    parser.add_argument("--epochs", type=int, default=6, help="epochs, each of 44 steps with 32 images")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| model | px | lr | steps | held-out accuracy | seconds |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in asked.models:
        size, result, seconds = learn(name, asked.epochs, asked.seed)
        _, schedule = iz.train.recipe(iz.create_model(name, device="meta"), asked.epochs)
        lr = schedule.get_last_lr()[0]
        print(f"| `{name}` | {size} | {lr} | {44 * asked.epochs} | {result.accuracy:.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
