"""The images of the command `train`: found, read once, split, augmented."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import ArgumentError, ZooError
from ..nn import Net
from ..zoo import open_image, transforms, warn_of_other_images
from ._images import UnreadableImages, check_class_folders, describe_parts, part_folders

if TYPE_CHECKING:
    from PIL import Image
    from torchvision.datasets import ImageFolder

HELD_OUT = 5  # every fifth image of a class, if there is no folder val/
CROP = 0.875  # the side of a crop, as a fraction of the image's side
MAX_CACHE = 2 << 30  # bytes of images that are kept in memory
Sample = tuple[str, int]


@dataclass(frozen=True)
class LabelledImages:
    """The images of a folder as (path, class index), those to train on and those held out. `folder` has their classes.

    `has_val` says that the folder has folders of its own for those held out.
    """

    folder: ImageFolder
    train: list[Sample]
    val: list[Sample]
    has_val: bool

    def without(self, paths: Iterable[str]) -> LabelledImages:
        """Return the images without those at `paths`; without folders of their own, again every fifth is held out."""
        left_out = set(paths)
        train, val = ([sample for sample in part if sample[0] not in left_out] for part in (self.train, self.val))
        if not self.has_val and left_out:
            train, val = _split(sorted([*train, *val]), len(self.folder.classes))
        return replace(self, train=train, val=val)

    def digest(self) -> str:
        """Return a hash of the names, sizes and classes of the images. It does not depend on where their folder is."""
        rows = [
            [part, os.path.relpath(path, self.folder.root), _size(path), target]
            for part, samples in (("train", self.train), ("val", self.val))
            for path, target in samples
        ]
        return hashlib.sha256(json.dumps([self.folder.classes, rows]).encode()).hexdigest()

    def counts(self, part: list[Sample]) -> dict[str, int]:
        """Return the number of images of each class."""
        numbers = Counter(target for _, target in part)
        return {name: numbers[index] for index, name in enumerate(self.folder.classes)}

    def check(self) -> None:
        """Check that there are two classes or more, with images in both parts, whose names are text.

        Raises:
            ArgumentError: there are not.
        """
        names = self.folder.classes
        if len(names) < 2:
            raise ArgumentError(f"{self.folder.root} has one class folder, {names}; give the folder of two classes or more")
        if unreadable := [name for name in names if not name.isprintable()]:
            raise ArgumentError(f"class folder {unreadable[0]!r} has a name that cannot be printed; rename it")
        for what, part in {"to train on": self.train, "held out": self.val}.items():
            if missing := [name for name, count in self.counts(part).items() if not count]:
                raise ArgumentError(f"class {missing[0]!r} has no image {what}; add images or remove its folder")


def _size(path: str) -> int | None:
    """Return the bytes of a file, or None for a link to a file that does not exist."""
    return os.path.getsize(path) if os.path.exists(path) else None


def find_labelled_images(folder: Path) -> LabelledImages:
    """Return the images in train/ and val/, or all in the folder's own folders, of which every fifth is held out.

    Raises:
        ArgumentError: train/ and val/ have different classes, a class has a single image, or there are no folders, hidden
            ones, or other parts than train/ and val/.
        OSError: the folder does not exist, or a class has no image.
    """
    from torchvision.datasets import ImageFolder

    parts = part_folders(folder)
    used = [folder / "train", folder / "val"] if parts else [folder]
    if parts and not set(used) <= set(parts):
        names = describe_parts(parts)
        raise ArgumentError(f"{folder} has {names}; name the folder to train on train/, and the one to hold out val/")
    for part in used:
        check_class_folders(part)
    warn_of_other_images(folder, stacklevel=2)
    if not parts:
        found = ImageFolder(folder)
        images = LabelledImages(found, *_split(found.samples, len(found.classes)), has_val=False)
    else:
        found, held_out = ImageFolder(folder / "train"), ImageFolder(folder / "val")
        if found.classes != held_out.classes:
            raise ArgumentError(f"train/ has the classes {found.classes}, val/ has {held_out.classes}; give both the same")
        images = LabelledImages(found, found.samples, held_out.samples, has_val=True)
    images.check()
    return images


def _split(samples: list[Sample], num_classes: int) -> tuple[list[Sample], list[Sample]]:
    """Return the samples to train on, and every fifth of each class, which is held out."""
    each = [[sample for sample in samples if sample[1] == index] for index in range(num_classes)]
    train = [sample for samples in each for index, sample in enumerate(samples) if index % HELD_OUT]
    return train, [sample for samples in each for sample in samples[::HELD_OUT]]


class ResizedImages:
    """A loader for ImageFolder: images whose shorter side has `side` pixels. They are kept in memory if `count` of them fit."""

    def __init__(self, side: int, channels: int, count: int) -> None:
        self.side, self.channels = side, channels
        self.is_caching = count * channels * side**2 * 4 // 3 <= MAX_CACHE  # for images of 4:3
        self.images: dict[str, Image.Image] = {}

    def __call__(self, path: str) -> Image.Image:
        if path not in self.images:
            image = self.resize(open_image(path, channels=self.channels))
            if not self.is_caching:
                return image
            self.images[path] = image
        return self.images[path]

    def keep(self, path: str, image: Image.Image) -> None:
        """Keep the image, resized, if there is room."""
        if self.is_caching:
            self.images[path] = self.resize(image)

    def resize(self, image: Image.Image) -> Image.Image:
        """Return the image with a shorter side of `side` pixels."""
        from PIL.Image import Resampling

        scale = self.side / min(image.size)
        return image.resize((round(image.width * scale), round(image.height * scale)), Resampling.BICUBIC)


def read_images(images: LabelledImages, loader: ResizedImages, unreadable: UnreadableImages) -> dict[str, Tensor]:
    """Read every image once. Return the mean and the mean square of the pixels of each channel, (2, c), by path.

    Images that cannot be read are added to `unreadable`.
    """
    from PIL.Image import Resampling
    from torchvision.transforms.functional import pil_to_tensor

    moments = {}
    for path, _ in tqdm([*images.train, *images.val], "read", unit=" images", leave=False, disable=None):
        try:
            image = open_image(path, channels=loader.channels)
        except (ZooError, OSError) as error:
            unreadable.add(path, error)
            continue
        loader.keep(path, image)
        pixels = pil_to_tensor(image.resize((32, 32), Resampling.BOX)).double() / 255
        moments[path] = torch.stack([pixels.mean((1, 2)), pixels.square().mean((1, 2))])
    return moments


def mean_and_std(moments: dict[str, Tensor], samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each channel of the samples, (c,), from the result of `read_images`."""
    mean, square = torch.stack([moments[path] for path, _ in samples]).mean(0)
    return mean, (square - mean.square()).clamp(min=1e-6).sqrt()


def make_data_sets(
    images: LabelledImages, model: Net, loader: ResizedImages, *, augment: bool
) -> tuple[ImageFolder, ImageFolder]:
    """Return the data sets to train on, augmented, and held out. Both have `classes`."""
    transform = _training_transform(model, augment=augment)
    return _data_set(images, images.train, loader, transform), _data_set(images, images.val, loader, transforms(model))


def held_out_files(images: LabelledImages, model: Net) -> ImageFolder:
    """Return the images held out with the pixels that `predict` and `evaluate` see."""
    return _data_set(images, images.val, partial(open_image, channels=model.in_chans), transforms(model))


def _data_set(
    images: LabelledImages, samples: list[Sample], loader: Callable[[str], Any], transform: Callable[[Any], Tensor]
) -> ImageFolder:
    data_set = copy.copy(images.folder)
    data_set.loader, data_set.transform = loader, transform
    data_set.samples = data_set.imgs = samples
    data_set.targets = [target for _, target in samples]
    return data_set


def _training_transform(model: Net, *, augment: bool) -> Callable[[Any], Tensor]:
    """Return a random crop, mirrored at random; with `augment` also rotated by 90 degrees and brightened."""
    from torchvision.transforms import v2

    more: dict[str, Any] = {"color_jitter": (0.1, 0.0, 0.0), "vflip": 0.5} if augment else {"color_jitter": None}
    crop = transforms(model, training=True, scale=(CROP**2, CROP**2), ratio=(1.0, 1.0), **more)  # a crop at a fixed scale
    turns = v2.RandomChoice([v2.RandomRotation((turn, turn)) for turn in (0, 90)])
    return v2.Compose([turns, crop]) if augment else crop
