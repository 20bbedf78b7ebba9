"""Fine-tune or train a model on a folder of images, evaluate and plot it, and save it with a model card.

DATA has either one folder for each class, of which every fifth image is held out, or train/ and val/ with such folders.

python examples/finetune.py moles --model googlenet --pretrained                 # published weights, a new classifier
python examples/finetune.py moles --weights mine.safetensors --freeze-epochs 2   # a file; first train only the classifier
python examples/finetune.py moles --size 128 --augment --balance --adamw --ema 0.99   # from random weights
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

import inceptionzoo as iz


def main() -> None:
    asked = parse()
    torch.manual_seed(asked.seed)
    folder = asked.data / "train" if (asked.data / "train").is_dir() else asked.data
    classes = len(ImageFolder(folder).classes)
    options: dict[str, Any] = {"drop_rate": asked.drop_rate} if asked.drop_rate is not None else {}
    model = iz.create_model(asked.model, num_classes=classes, weights=asked.weights, pretrained=asked.pretrained, **options)
    if asked.size:
        model.set_input_size(asked.size)
    if not (asked.weights or asked.pretrained):
        model.data = own_statistics(model.data, [path for path, _ in data_sets(asked, folder, model)[0].samples])
    train, val = data_sets(asked, folder, model)
    if train.classes != val.classes:
        raise SystemExit(f"the images to train on have the classes {train.classes}, those held out {val.classes}")
    model = iz.with_aux(model) if asked.aux else model
    print(f"{asked.model}, {model.data.input_size[1]} px: {len(train)} images, {len(val)} held out, {train.classes}")

    batches = DataLoader(train, asked.batch_size, shuffle=True, drop_last=True)
    held_out = DataLoader(val, asked.batch_size)
    history = iz.fit(
        model, batches, held_out, epochs=asked.epochs, **stepping(asked, model), ema=asked.ema,
        freeze_epochs=asked.freeze_epochs, label_smoothing=asked.label_smoothing,
        class_weights=balanced(train.targets) if asked.balance else None, precision=asked.precision,
        metrics={"balanced_accuracy": lambda result: result.balanced_accuracy}, monitor="auc", out=asked.out,
        resume=False, seed=asked.seed,
    )  # fmt: skip
    result = iz.evaluate(model, held_out)
    scores = {"accuracy": result.accuracy, "balanced_accuracy": result.balanced_accuracy, "auc": result.auc}
    print("held out: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))

    history.plot(asked.out / "curves.png")
    result.plot_roc(asked.out / "roc.png")
    result.plot_precision_recall(asked.out / "precision_recall.png")
    result.plot_calibration(asked.out / "calibration.png")
    result.plot(asked.out / "confusion.png")
    text = f"Trained on the {len(train)} images of {asked.data.name}/, {asked.epochs} epochs, seed {asked.seed}."
    iz.save_pretrained(model, asked.out / "model", metrics=scores, description=text)
    image = val.samples[0][0]
    print(
        f"saved {asked.out / 'model'}; of {image} it says {iz.predict(iz.create_model(f'local-dir:{asked.out}/model'), image)}"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with one folder for each class, or with train/ and val/")
    parser.add_argument("--model", default="googlenet", help="any of iz.list_models()")
    parser.add_argument("--weights", type=Path, help="a .safetensors or .pth file to start from")
    parser.add_argument("--pretrained", action="store_true", help="start from the published weights")
    parser.add_argument("--size", type=int, help="image side in pixels (default: the model's own)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, help="learning rate (default: the model's recipe)")
    parser.add_argument("--warmup-epochs", type=int, default=0)
    parser.add_argument("--freeze-epochs", type=int, default=0, help="epochs that train only the classifier")
    parser.add_argument("--aux", action="store_true", help="train with the auxiliary heads of the network, from random weights")
    parser.add_argument("--layer-decay", type=float, help="ratio of a stage's learning rate to the next stage's, such as 0.8")
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--drop-rate", type=float, help="dropout before the classifier")
    parser.add_argument("--ema", type=float, help="decay of the moving average of the weights, such as 0.99")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"), help="for processors that have it")
    parser.add_argument("--balance", action="store_true", help="weight each class by the inverse of its frequency")
    parser.add_argument("--adamw", action="store_true", help="use AdamW with weight decay 0.05 instead of the recipe's SGD")
    parser.add_argument("--augment", action="store_true", help="also rotate by 90 degrees, mirror and brighten images")
    parser.add_argument("--out", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def data_sets(asked: argparse.Namespace, folder: Path, model: iz.Net) -> tuple[ImageFolder, ImageFolder]:
    """Return augmented training images and plain held-out images. All are cached in memory, slightly larger than `--size`."""
    part = 0.875  # the crop's share of the image's side
    side = round(model.data.input_size[1] / part)

    @cache
    def read(path: str) -> Image.Image:
        image = iz.open_image(path)
        scale = side / min(image.size)
        return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)

    more: dict[str, Any] = {"color_jitter": (0.1, 0.0, 0.0), "vflip": 0.5} if asked.augment else {"color_jitter": None}
    crop = iz.transforms(model, training=True, scale=(part**2, part**2), ratio=(1.0, 1.0), **more)  # a crop at a fixed scale
    augmented = (
        v2.Compose([v2.RandomChoice([v2.RandomRotation((turn, turn)) for turn in (0, 90)]), crop]) if asked.augment else crop
    )
    plain = iz.transforms(model)
    if folder != asked.data:
        return ImageFolder(folder, augmented, loader=read), ImageFolder(asked.data / "val", plain, loader=read)
    files = [path for name in sorted(folder.iterdir()) for path in sorted(name.rglob("*"))]
    images = [str(path) for path in files if path.suffix.lower() in IMG_EXTENSIONS]
    held_out = set(images[::5])
    parts = ((augmented, set(images) - held_out), (plain, held_out))
    first, second = (ImageFolder(folder, how, loader=read, is_valid_file=part.__contains__) for how, part in parts)
    return first, second


def own_statistics(data: iz.DataConfig, paths: list[str]) -> iz.DataConfig:
    """Return the preprocessing with the mean and standard deviation of these images. It is saved with the model."""
    small = [iz.open_image(path).resize((32, 32), Image.Resampling.BOX) for path in paths]
    values = torch.stack([pil_to_tensor(image) for image in small]) / 255
    mean, deviation = (measure.tolist() for measure in (values.mean((0, 2, 3)), values.std((0, 2, 3))))
    return replace(data, mean=tuple(mean), std=tuple(deviation))


def stepping(asked: argparse.Namespace, model: iz.Net) -> dict[str, Any]:
    """Return the arguments of `fit` for the optimizer and the learning rate."""
    steps = {"warmup_epochs": asked.warmup_epochs, "layer_decay": asked.layer_decay}  # fit rejects them with --adamw
    if not asked.adamw:
        return {"lr": asked.lr, **steps}
    optimizer = torch.optim.AdamW(model.parameters(), 5e-4 if asked.lr is None else asked.lr, weight_decay=0.05)
    return {"optimizer": optimizer, "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, asked.epochs), **steps}


def balanced(targets: list[int]) -> Tensor:
    """Return a weight for each class: the inverse of its frequency, with a mean of 1."""
    weights = 1 / torch.tensor(targets).bincount()
    return weights / weights.mean()


if __name__ == "__main__":
    main()
