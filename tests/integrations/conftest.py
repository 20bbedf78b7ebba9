"""Fixtures that run the code of docs/embedding. A test runs the code of one section and checks the variables it sets."""

import os
from collections.abc import Callable

import numpy
import pytest
import torch
from PIL import Image
from sections import sections

import inceptionzoo as iz

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}  # these libraries must not send reports


@pytest.fixture
def moles(tmp_path, monkeypatch):
    """Write noisy images of two classes, one redder than the other, to moles/train and moles/val."""
    random = numpy.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        for number, name in enumerate(("benign", "malignant")):
            (tmp_path / "moles" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 100, (48, 40, 3)) + numpy.array((90 * number, 60, 30))
                Image.fromarray(pixels.astype("uint8")).save(tmp_path / "moles" / split / name / f"{index}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "moles"


@pytest.fixture
def page(moles) -> Callable[[str], dict[str, object]]:
    """Return a function that runs the code of a section with a fixed seed and returns the variables it sets."""

    def run(title: str) -> dict[str, object]:
        names: dict[str, object] = {"__name__": "page"}
        torch.manual_seed(0)
        exec(compile(sections()[title], f"docs/embedding, {title}", "exec"), names)
        return names

    iz.interop.timm.register()
    return run
