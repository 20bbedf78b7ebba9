"""Train a small Inception network, or torchvision's GoogLeNet, on Fashion-MNIST in half an hour on one CPU core.

python examples/fashion.py                     # reads Debian's package dataset-fashion-mnist, or --data FOLDER
python examples/fashion.py --peer --epochs 11  # torchvision's GoogLeNet, trained in the same way
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import torch
from torch import Tensor
from torch.nn.functional import pad

import inceptionzoo as iz

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
MEAN, STD = 0.286, 0.353  # of the training images, with values from 0 to 1
NETWORK = iz.network(
    conv1=iz.Conv(32, 3),
    conv2=iz.Conv(64, 3, 2),
    inception3a=iz.inception(32, 32, 48, 16, 24, 24, five=3),
    inception3b=iz.inception(48, 48, 64, 16, 24, 24, five=3),
    pool3=iz.Pool("max", 3, 2),
    inception4a=iz.inception(80, 64, 112, 24, 32, 32, five=3),
    inception4b=iz.inception(80, 64, 112, 24, 32, 32, five=3),
    inception4c=iz.inception(96, 80, 128, 32, 48, 48, five=3),
)


class Images:
    """Batches of images (n, 1, 28, 28), or (n, 3, 32, 32) if `wide`.

    Training images are shuffled, mirrored at random and shifted by up to 2 px.
    """

    def __init__(self, folder: Path, split: str, size: int, *, training: bool, wide: bool) -> None:
        self.images, self.targets = (
            torch.from_numpy(numpy.frombuffer(gzip.decompress((folder / f"{split}-{kind}").read_bytes()), numpy.uint8).copy())
            for kind in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")
        )
        self.images, self.targets = self.images[16:].view(-1, 1, 28, 28), self.targets[8:].long()
        self.size, self.training, self.wide = size, training, wide

    def __len__(self) -> int:
        return len(self.targets) // self.size if self.training else -(-len(self.targets) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.targets)) if self.training else torch.arange(len(self.targets))
        for chosen in torch.split(order, self.size)[: len(self)]:
            images = self.images[chosen].float().sub(255 * MEAN).div(255 * STD)
            images = moved(images) if self.training else images
            yield (
                (pad(images, (2, 2, 2, 2), value=-MEAN / STD).expand(-1, 3, -1, -1) if self.wide else images),
                self.targets[chosen],
            )


def moved(images: Tensor) -> Tensor:
    """Return the images, each mirrored at random and shifted by up to 2 px."""
    count, side = len(images), images.shape[-1]
    padded = pad(images, (2, 2, 2, 2), value=-MEAN / STD)
    rows, columns = (torch.randint(5, (count, 1)) + torch.arange(side) for _ in range(2))
    columns = torch.where(torch.rand(count, 1) < 0.5, columns, columns.flip(1))
    return padded[torch.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]


def peer() -> iz.Net:
    """Return GoogLeNet with torchvision's initial weights and auxiliary heads. The outputs equal torchvision's."""
    import torchvision

    start = torchvision.models.googlenet(weights=None, aux_logits=True, num_classes=len(CLASSES), init_weights=True)
    model = iz.with_aux(iz.create_model("googlenet", num_classes=len(CLASSES)))
    iz.load_weights(model, start.state_dict())
    model.data = iz.DataConfig(input_size=(3, 32, 32), mean=(MEAN,) * 3, std=(STD,) * 3, crop_pct=1.0)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"), help="folder of the .gz files")
    parser.add_argument("--peer", action="store_true", help="train torchvision's GoogLeNet, with 32 px and three channels")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="bf16 for processors that have it")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion"))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    train = Images(asked.data, "train", asked.batch_size, training=True, wide=asked.peer)
    test = Images(asked.data, "t10k", 250, training=False, wide=asked.peer)
    if asked.peer:
        model = peer()
    else:
        data = iz.DataConfig(input_size=(1, 28, 28), mean=(MEAN,), std=(STD,), crop_pct=1.0)
        iz.register_model("fashion", NETWORK, num_classes=len(CLASSES), data=data)
        model = iz.create_model("fashion")
    model.set_class_names(CLASSES)
    start = time.perf_counter(), time.process_time()
    iz.fit(model, train, epochs=asked.epochs, lr=asked.lr, warmup_epochs=1, ema=0.998, precision=asked.precision, progress=None)
    minutes, busy = ((now - then) / 60 for now, then in zip((time.perf_counter(), time.process_time()), start, strict=True))
    result = iz.evaluate(model, test)
    print(f"{asked.epochs} epochs in {minutes:.1f} minutes, {busy:.1f} of processor time: test accuracy {result.accuracy:.4f}")
    asked.out.mkdir(parents=True, exist_ok=True)
    iz.save_weights(model, asked.out / "model.safetensors", metrics={"accuracy": result.accuracy})
    result.plot(asked.out / "confusion.png")


if __name__ == "__main__":
    main()
