"""The images of the command `train`: found, read once, split, augmented."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import ArgumentError, ZooError
from ..nn import Net
from ..zoo import open_image, transforms, warn_of_other_images
from ._images import UnreadableImages

if TYPE_CHECKING:
    from PIL import Image
    from torchvision.datasets import ImageFolder

HELD_OUT = 5  # every fifth image of a class, if there is no folder val/
CROP = 0.875  # the side of a crop, as a fraction of the image's side
MAX_CACHE = 2 << 30  # bytes of images that are kept in memory
Sample = tuple[str, int]


@dataclass(frozen=True)
class LabelledImages:
    """The images of a folder as (path, class index), those to train on and those held out. `folder` has their classes."""

    folder: ImageFolder
    train: list[Sample]
    val: list[Sample]

    def without(self, paths: Iterable[str]) -> LabelledImages:
        """Return the images without those at `paths`."""
        left_out = set(paths)
        train, val = ([sample for sample in part if sample[0] not in left_out] for part in (self.train, self.val))
        return replace(self, train=train, val=val)

    def counts(self, part: list[Sample]) -> dict[str, int]:
        """Return the number of images of each class."""
        numbers = Counter(target for _, target in part)
        return {name: numbers[index] for index, name in enumerate(self.folder.classes)}

    def check(self) -> None:
        """Check that every class has images in both parts.

        Raises:
            ArgumentError: a class has none.
        """
        for what, part in {"to train on": self.train, "held out": self.val}.items():
            if missing := [name for name, count in self.counts(part).items() if not count]:
                raise ArgumentError(f"class {missing[0]!r} has no image {what}; add images or remove its folder")


def find_labelled_images(folder: Path) -> LabelledImages:
    """Return the images in train/ and val/, or all in the folder's own folders, of which every fifth is held out.

    Raises:
        ArgumentError: train/ and val/ have different classes, or a class has a single image.
        OSError: there is no folder for a class, or one without an image.
    """
    from torchvision.datasets import ImageFolder

    warn_of_other_images(folder, stacklevel=2)
    if not (folder / "train").is_dir():
        found = ImageFolder(folder)
        each = [[sample for sample in found.samples if sample[1] == index] for index in range(len(found.classes))]
        train = [sample for samples in each for index, sample in enumerate(samples) if index % HELD_OUT]
        images = LabelledImages(found, train, [sample for samples in each for sample in samples[::HELD_OUT]])
    else:
        found, held_out = ImageFolder(folder / "train"), ImageFolder(folder / "val")
        if found.classes != held_out.classes:
            raise ArgumentError(f"train/ has the classes {found.classes}, val/ has {held_out.classes}; give both the same")
        images = LabelledImages(found, found.samples, held_out.samples)
    images.check()
    return images


class ResizedImages:
    """A loader for ImageFolder: images whose shorter side has `side` pixels. They are kept in memory if `count` of them fit."""

    def __init__(self, side: int, channels: int, count: int) -> None:
        self.side, self.channels = side, channels
        self.is_caching = count * channels * side**2 * 4 // 3 <= MAX_CACHE  # for images of 4:3
        self.images: dict[str, Image.Image] = {}

    def __call__(self, path: str) -> Image.Image:
        if path not in self.images:
            return self.add(path, open_image(path, channels=self.channels))
        return self.images[path]

    def add(self, path: str, image: Image.Image) -> Image.Image:
        """Return the image resized, and keep it if there is room."""
        from PIL.Image import Resampling

        scale = self.side / min(image.size)
        resized = image.resize((round(image.width * scale), round(image.height * scale)), Resampling.BICUBIC)
        if self.is_caching:
            self.images[path] = resized
        return resized


def read_images(images: LabelledImages, loader: ResizedImages, unreadable: UnreadableImages) -> tuple[Tensor, Tensor]:
    """Read every image once, and return the mean and the standard deviation of each channel of those to train on, (c,).

    Images that cannot be read are added to `unreadable`.
    """
    from PIL.Image import Resampling
    from torchvision.transforms.functional import pil_to_tensor

    train, moments = {path for path, _ in images.train}, []
    for path, _ in tqdm([*images.train, *images.val], "read", unit=" images", leave=False, disable=None):
        try:
            image = open_image(path, channels=loader.channels)
        except (ZooError, OSError) as error:
            unreadable.add(path, error)
            continue
        loader.add(path, image)
        if path in train:
            pixels = pil_to_tensor(image.resize((32, 32), Resampling.BOX)).double() / 255
            moments.append(torch.stack([pixels.mean((1, 2)), pixels.square().mean((1, 2))]))
    mean, square = torch.stack(moments).mean(0) if moments else torch.ones(2, loader.channels)
    return mean, (square - mean.square()).clamp(min=1e-6).sqrt()


def make_data_sets(
    images: LabelledImages, model: Net, loader: ResizedImages, *, augment: bool
) -> tuple[ImageFolder, ImageFolder]:
    """Return the data sets to train on, augmented, and held out. Both have `classes`."""
    train, val = copy.copy(images.folder), copy.copy(images.folder)
    for part, samples in ((train, images.train), (val, images.val)):
        part.loader, part.samples, part.imgs = loader, samples, samples
        part.targets = [target for _, target in samples]
    train.transform, val.transform = _training_transform(model, augment=augment), transforms(model)
    return train, val


def _training_transform(model: Net, *, augment: bool) -> Callable[[Any], Tensor]:
    """Return a random crop, mirrored at random; with `augment` also rotated by 90 degrees and brightened."""
    from torchvision.transforms import v2

    more: dict[str, Any] = {"color_jitter": (0.1, 0.0, 0.0), "vflip": 0.5} if augment else {"color_jitter": None}
    crop = transforms(model, training=True, scale=(CROP**2, CROP**2), ratio=(1.0, 1.0), **more)  # a crop at a fixed scale
    turns = v2.RandomChoice([v2.RandomRotation((turn, turn)) for turn in (0, 90)])
    return v2.Compose([turns, crop]) if augment else crop
