"""The examples, run as a user runs them, at toy size."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder: Path, name: str, *options: object) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, options)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_quickstart_on_the_digits(tmp_path):
    text = run(tmp_path, "quickstart.py", "--epochs", 1, "--model", "vgg11_bn_cifar", "--out", "out")
    assert "285 images, 72 held out, ['eight', 'three']" in text
    assert "predictions equal bit for bit" in text
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "best.safetensors", "history.csv", "curves.png", "roc.png", "confusion.png"} <= made


def test_quickstart_on_folders_of_ones_own(tmp_path):
    for split, count in (("train", 8), ("val", 4)):
        for number, name in enumerate(("benign", "malignant", "other")):
            for index in range(count):
                path = tmp_path / "moles" / split / name / f"{index}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (50, 40), (80 * number + index, 90, 90)).save(path)
    text = run(tmp_path, "quickstart.py", "--data", "moles", "--size", 32, "--epochs", 1, "--batch-size", 8)
    assert "24 images, 12 held out, ['benign', 'malignant', 'other']" in text
    assert "predictions equal bit for bit" in text


def test_compose(tmp_path):
    text = run(tmp_path, "compose.py", "--epochs", 4, "--out", "mine.safetensors")
    assert "crossnet, input 8x8x1" in text
    accuracy = float(text.split("held-out accuracy ")[1].split(";")[0])
    assert accuracy > 0.8
    assert text.splitlines()[-1] == "crossnet {'width': 24}"


def test_memory(tmp_path):
    options = ("--model", "vgg11_bn_cifar", "--size", 64, "--batch", 4, "--only", "plain", "checkpoint, bf16")
    lines = run(tmp_path, "memory.py", *options).splitlines()
    assert lines[0] == "vgg11_bn_cifar, 64 px, a step of 4 images"
    assert [line.split("|")[2].strip() for line in lines[4:]] == ["plain", "checkpoint, bf16"]
    for line in lines[4:]:
        assert float(line.split("|")[4]) > 0
