"""Train a two-class GoogLeNet, save it, load it back and predict.

Without --data, it uses two of scikit-learn's handwritten digits: 357 images of 8x8 px, resized to 32x32. With --data DIR, it
uses the images in DIR. DIR has either one folder for each class, of which every fifth image is held out, or train/ and val/
with such folders.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

import inceptionzoo as iz

DIGITS = {3: "three", 8: "eight"}


def main() -> None:
    options = parse()
    out = Path(options.out)
    folder = Path(options.data) if options.data else write_digits(out / "digits")
    torch.manual_seed(options.seed)

    model = iz.create_model(options.model, num_classes=len(ImageFolder(training_folder(folder)).classes))
    model.set_input_size(options.size or (128 if options.data else 32))
    train, val = data_sets(folder, model, flip=bool(options.data))
    if train.classes != val.classes:
        raise SystemExit(f"the images to train on have the classes {train.classes}, those held out {val.classes}")
    print(f"{options.model}, {model.data.input_size[1]} px: {len(train)} images, {len(val)} held out, {train.classes}")

    is_full = len(train) >= options.batch_size  # drop_last would drop the only batch
    batches = DataLoader(train, options.batch_size, shuffle=True, drop_last=is_full)
    held_out = DataLoader(val, options.batch_size)
    history = iz.fit(model, batches, held_out, epochs=options.epochs, out=out, resume=False, progress=True)
    result = iz.evaluate(model, held_out)
    print(f"held out: accuracy {result.accuracy:.3f}, balanced {result.balanced_accuracy:.3f}, AUC {result.auc:.3f}")

    file = out / "model.safetensors"
    iz.save_weights(model, file, metrics={"val_accuracy": result.accuracy})
    reloaded = iz.load_model(file)
    if not torch.equal(iz.evaluate(reloaded, held_out).probabilities, result.probabilities):
        raise SystemExit("the reloaded model predicts something else")
    print(f"saved {file} and loaded it back: predictions equal bit for bit")

    history.plot(out / "curves.png")
    result.plot_roc(out / "roc.png")
    result.plot(out / "confusion.png")
    image, target = val.samples[0]
    print(f"{image} is {val.classes[target]!r}; predicted {iz.predict(reloaded, image)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder with one folder for each class, or with train/ and val/")
    parser.add_argument("--model", default="googlenet", help="any of iz.list_models()")
    parser.add_argument("--size", type=int, help="image side in pixels (default: 32 for the digits, 128 for --data)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--out", default="runs/quickstart", help="folder for weights, history and plots")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def training_folder(folder: Path) -> Path:
    return folder / "train" if (folder / "train").is_dir() else folder


def data_sets(folder: Path, model: iz.Net, *, flip: bool) -> tuple[ImageFolder, ImageFolder]:
    """Return augmented training images and plain held-out images."""
    augmented = iz.transforms(model, training=True, scale=(0.7, 1.0), hflip=0.5 if flip else 0.0)
    plain = iz.transforms(model)
    if training_folder(folder) != folder:
        parts = ((folder / "train", augmented), (folder / "val", plain))
        train, val = (ImageFolder(part, transform, loader=iz.open_image) for part, transform in parts)
        return train, val
    classes = [sorted(path for path in name.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS) for name in folder.iterdir()]
    held_out = {str(path) for images in classes for path in images[::5]}
    others = {str(path) for images in classes for path in images} - held_out
    train = ImageFolder(folder, augmented, loader=iz.open_image, is_valid_file=others.__contains__)
    return train, ImageFolder(folder, plain, loader=iz.open_image, is_valid_file=held_out.__contains__)


def write_digits(folder: Path) -> Path:
    """Write two of scikit-learn's digits as images, with one folder for each class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for index, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if digit in DIGITS:
            path = folder / DIGITS[digit] / f"{index:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((255 - image * 255 / 16).astype("uint8")).resize((32, 32), Image.Resampling.BICUBIC).save(path)
    return folder


if __name__ == "__main__":
    main()
