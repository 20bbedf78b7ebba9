"""The images of commands: what their arguments name, what can be read of it, and folders with a folder for each class."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import ArgumentError, ZooError
from ..zoo import find_hidden_images, image_paths, is_hidden, warn_of_other_images

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder

PART = re.compile("(train(ing)?|val(id(ation)?)?|test(ing)?)([ _-]?(set|data|images))?", re.IGNORECASE)


def find_images(patterns: Iterable[str]) -> list[str]:
    """Return the paths that the arguments IMAGE name, in their order: files, all images of folders, and matches of patterns.

    The path of a file that does not exist is returned too; reading it fails later.

    Raises:
        ArgumentError: a folder has no image, or a pattern matches no file.
    """
    paths: list[str] = []
    for pattern in patterns:
        if Path(pattern).is_dir():
            paths += image_paths(Path(pattern))
        elif Path(pattern).exists() or not glob.has_magic(pattern):
            paths.append(pattern)
        elif found := sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()):
            paths += found
        else:
            raise ArgumentError(f"no file matches {pattern!r}; check the pattern and the current folder, {Path.cwd()}")
    return list(dict.fromkeys(paths))  # each once


class UnreadableImages:
    """The images that a command leaves out because they cannot be read. Each is reported on stderr when it is found."""

    def __init__(self) -> None:
        self.found: list[dict[str, str]] = []

    def add(self, path: str, error: Exception) -> None:
        """Report an image."""
        self.found.append({"path": path, "error": str(error)})
        tqdm.write(f"inceptionzoo: {error}" if path in str(error) else f"inceptionzoo: {path}: {error}", sys.stderr)

    def print_count(self, total: int) -> None:
        """Print how many of `total` images were left out, if any."""
        if self.found:
            print(f"inceptionzoo: {len(self.found)} of {total} images could not be read and were left out", file=sys.stderr)


def find_image_folder(folder: str) -> ImageFolder:
    """Return the images of a folder that has a folder for each class.

    Raises:
        ArgumentError: it has no such folders, hidden ones, or parts such as train/ and val/ with such folders.
        OSError: there is no such folder, or a class has no image.
    """
    from torchvision.datasets import ImageFolder

    check_class_folders(Path(folder))
    if parts := part_folders(Path(folder)):
        example = min(parts, key=lambda part: part.name.lower().startswith("train"))
        raise ArgumentError(f"{folder} has the folders {describe_parts(parts)}; give one of them, for example {example}")
    dataset = ImageFolder(folder)
    warn_of_other_images(Path(folder), stacklevel=2)
    return dataset


def check_class_folders(folder: Path) -> None:
    """Check that a folder, if it exists, has a folder for each class, and no others that ImageFolder would take for a class.

    Raises:
        ArgumentError: it has no folders, or a hidden one, as Jupyter and macOS make them; or a class has one with images.
    """
    if not folder.is_dir():
        return
    classes = sorted(_folders_in(folder))
    if not classes:
        raise ArgumentError(
            f"{folder} has no folder for each class; if it holds the images of one class, give the folder above"
        )
    if hidden := [path.name for path in classes if is_hidden(path.name)]:
        raise ArgumentError(f"{folder} has the folder {hidden[0]}, which would be taken for a class; remove it")
    if found := next(filter(None, map(find_hidden_images, classes)), None):
        raise ArgumentError(f"{found} is hidden, but its images would be taken for those of a class; remove it")


def part_folders(folder: Path) -> list[Path]:
    """Return the folders such as train/, val/ and Testing/ that are parts of the images, and no classes; [] if there are none.

    They have folders themselves, or there is no folder with another name: "train" can also be a class beside "car".
    """
    folders = _folders_in(folder) if folder.is_dir() else []
    named = sorted(path for path in folders if PART.fullmatch(path.name))
    return named if len(named) == len(folders) else list(filter(_folders_in, named))


def describe_parts(parts: Iterable[Path]) -> str:
    """Return the names of the parts: "train/ and val/"."""
    return " and ".join(f"{part.name}/" for part in parts)


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


class ReadableBatches:
    """Batches (images, targets) of an image folder, in order, without the images that cannot be read."""

    def __init__(self, dataset: ImageFolder, batch_size: int, unreadable: UnreadableImages) -> None:
        self.dataset, self.batch_size, self.unreadable = dataset, batch_size, unreadable

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        with tqdm(total=len(self.dataset), unit=" images", leave=False, disable=None) as bar:
            for start in range(0, len(self.dataset), self.batch_size):
                indices = range(start, min(start + self.batch_size, len(self.dataset)))
                if pairs := [pair for index in indices if (pair := self._read(index)) is not None]:
                    yield torch.stack([image for image, _ in pairs]), torch.tensor([target for _, target in pairs])
                bar.update(len(indices))

    def _read(self, index: int) -> tuple[Tensor, int] | None:
        """Return an image and its target, or None if the image cannot be read."""
        try:
            pair: tuple[Tensor, int] = self.dataset[index]
        except (ZooError, OSError) as error:
            self.unreadable.add(self.dataset.samples[index][0], error)
            return None
        return pair
