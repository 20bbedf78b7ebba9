"""The pages of docs/embedding are what these tests run: a section's code is executed, and its test judges what it leaves."""

import os
from collections.abc import Callable

import numpy
import pytest
import torch
from PIL import Image
from sections import sections

import inceptionzoo as iz

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}  # nothing but loopback is reached


@pytest.fixture
def moles(tmp_path, monkeypatch):
    """A folder of our own, with two classes of noisy images, one redder than the other, in moles/train and moles/val."""
    random = numpy.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        for number, name in enumerate(("benign", "malignant")):
            (tmp_path / "moles" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 100, (48, 40, 3)) + numpy.array((90 * number, 60, 30))
                Image.fromarray(pixels.astype("uint8")).save(tmp_path / "moles" / split / name / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "moles"


@pytest.fixture
def page(moles) -> Callable[[str], dict[str, object]]:
    """Run the code of a section as a user would, from one seed; return all that it has named."""

    def run(title: str) -> dict[str, object]:
        names: dict[str, object] = {"__name__": "page"}
        torch.manual_seed(0)
        exec(compile(sections()[title], f"docs/embedding, {title}", "exec"), names)
        return names

    iz.interop.timm.register()
    return run
