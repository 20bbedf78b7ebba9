"""Folders of images for the tests of commands."""

from pathlib import Path

from PIL import Image


def write_images(folder: Path, counts: dict[str, int], *, size: tuple[int, int] = (12, 10)) -> Path:
    """Write images into a folder for each class; the images of a class have one colour. Return `folder`."""
    for number, (name, count) in enumerate(counts.items()):
        for index in range(count):
            path = folder / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (60 * number + 20, 3 * index, 200 - 60 * number)).save(path)
    return folder
