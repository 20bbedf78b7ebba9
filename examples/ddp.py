"""Train in several processes with `fit` and torchrun, on scikit-learn's digits.

torchrun --standalone --nproc-per-node 2 examples/ddp.py    # or: python -m torch.distributed.run ...
python examples/ddp.py                                      # the same training in one process

Every process calls `fit` with the same loader. Each batch of 32 images is split between the processes, so the history is the
same as with one process, except for the batch statistics of batch normalisation and the random numbers of dropout. The first
process writes the files. On a machine with GPUs, each process uses one.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Subset, TensorDataset

import inceptionzoo as iz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="googlenet", help="any of iz.list_models()")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=1437, help="number of training images")
    parser.add_argument("--out", type=Path, default=Path("runs/ddp"))
    asked = parser.parse_args()
    data = load_digits()
    images = interpolate(torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1, size=32, mode="bilinear")
    digits = TensorDataset(images.expand(-1, 3, -1, -1), torch.tensor(data.target))
    train, test = Subset(digits, range(asked.images)), Subset(digits, range(1437, len(digits)))
    torch.manual_seed(0)
    model = iz.create_model(asked.model, num_classes=10)
    model.set_input_size(32)
    model.data = replace(model.data, mean=(0.5,) * 3, std=(0.5,) * 3)  # values from -1 to 1
    batches = DataLoader(train, 32, shuffle=True, drop_last=True)
    history = iz.fit(model, batches, DataLoader(test, 60), epochs=asked.epochs, out=asked.out, resume=False)
    if int(os.environ.get("RANK", "0")) == 0:
        for row in history.epochs:
            print(f"epoch {row['epoch']}: loss {row['loss']:.3f}, held-out accuracy {row['val_accuracy']:.3f}")
        print(f"{os.environ.get('WORLD_SIZE', '1')} processes; the best model is {asked.out / 'best.safetensors'}")


if __name__ == "__main__":
    main()
