"""Run the examples with small options, as a user would."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from helpers import WARNINGS
from PIL import Image

import inceptionzoo as iz

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder: Path, name: str, *options: object) -> str:
    command = [sys.executable, "-W", WARNINGS, str(EXAMPLES / name), *map(str, options)]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_quickstart_on_the_digits(tmp_path):
    text = run(tmp_path, "quickstart.py", "--epochs", 1, "--model", "vgg11_bn_cifar", "--out", "out")
    assert "285 images, 72 held out, ['eight', 'three']" in text
    assert "predictions equal bit for bit" in text
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "best.safetensors", "history.csv", "curves.png", "roc.png", "confusion.png"} <= files


def test_quickstart_on_image_folders(tmp_path):
    for split, count in (("train", 8), ("val", 4)):
        for number, name in enumerate(("benign", "malignant", "other")):
            for index in range(count):
                path = tmp_path / "moles" / split / name / f"{index}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (50, 40), (80 * number + index, 90, 90)).save(path)
    (tmp_path / "moles" / "train" / "benign" / "Thumbs.db").write_bytes(b"no image")
    text = run(tmp_path, "quickstart.py", "--data", "moles", "--size", 32, "--epochs", 1, "--batch-size", 8)
    assert "24 images, 12 held out, ['benign', 'malignant', 'other']" in text
    assert "predictions equal bit for bit" in text


def test_compose(tmp_path):
    text = run(tmp_path, "compose.py", "--epochs", 4, "--out", "mine.safetensors")
    assert "crossnet, input 8x8x1" in text
    accuracy = float(text.split("held-out accuracy ")[1].split(";")[0])
    assert accuracy > 0.8
    assert text.splitlines()[-1] == "crossnet {'width': 24}"


@pytest.mark.full
def test_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")  # otherwise the step uses what the one before it has freed
    options = ("--model", "vgg11_bn_cifar", "--size", 64, "--batch", 4, "--only", "plain", "checkpoint, bf16")
    lines = run(tmp_path, "memory.py", *options).splitlines()
    assert lines[0] == "vgg11_bn_cifar, 64 px, a step of 4 images"
    assert [line.split("|")[2].strip() for line in lines[4:]] == ["plain", "checkpoint, bf16"]
    for line in lines[4:]:
        assert float(line.split("|")[3]) > 70  # MiB; the gradients and the optimizer's state alone need that much
        assert float(line.split("|")[4]) > 0


def moles(folder: Path, size: int = 50) -> Path:
    for number, name in enumerate(("benign", "malignant")):
        for index in range(10):
            path = folder / "moles" / name / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (size, size - 10), (80 * number + index, 90, 90)).save(path)
    return folder / "moles"


def test_training_and_held_out_images_must_have_the_same_classes(tmp_path):
    for split, classes in (("train", "abc"), ("val", "ac")):
        for label in classes:
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("RGB", (40, 40), (ord(label),) * 3).save(tmp_path / split / label / "0.png")
    command = [sys.executable, EXAMPLES / "quickstart.py", "--data", tmp_path, "--size", "32"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr.endswith("have the classes ['a', 'b', 'c'], those held out ['a', 'c']\n")


def test_quickstart_with_fewer_images_than_a_batch(tmp_path):
    moles(tmp_path)
    text = run(
        tmp_path,
        "quickstart.py",
        "--data",
        "moles",
        "--size",
        32,
        "--epochs",
        1,
        "--model",
        "vgg11_bn_cifar",
        "--batch-size",
        99,
    )
    assert "predictions equal bit for bit" in text


def test_finetune_and_vote(tmp_path):
    options = moles(tmp_path), "--model", "vgg11_bn_cifar", "--batch", 4
    assert "saved: a/model" in run(tmp_path, "finetune.py", *options, "--epochs", 1, "--out", "a")
    start = "--weights", "a/best.safetensors", "--freeze-epochs", 1, "--layer-decay", 0.8, "--augment", "--balance"
    assert "saved: b/model" in run(tmp_path, "finetune.py", *options, *start, "--ema", 0.9, "--epochs", 2, "--out", "b")

    rows = [
        line.strip("| ").split(" | ") for line in run(tmp_path, "vote.py", "moles", "a", "b", "--out", "c").splitlines()[2:]
    ]
    names = ["a", "a, eight views", "b", "b, eight views", "together", "together, eight views"]
    assert [row[0] for row in rows] == names
    assert all(0 <= float(number) <= 1 for row in rows for number in row[1:])
    assert (tmp_path / "c" / "roc.png").is_file()
    assert len(iz.Ensemble.load(tmp_path / "c" / "ensemble.safetensors").members) == 2


@pytest.mark.full
def test_ensemble(tmp_path):
    """With equal weights, the loss of the ensemble is at most the mean loss of its members. This holds for any members."""
    members = ("--members", "vgg11_bn_cifar", "googlenet", "--epochs", 1)
    lines = run(tmp_path, "ensemble.py", *members, "--out", ".").splitlines()
    first, second, mean, ensemble, weighted = ([float(n) for n in re.findall(r"\d+\.\d+", line)] for line in lines[:5])
    assert mean[0] == pytest.approx((first[0] + second[0]) / 2, abs=1.1e-3)  # accuracies with three decimals
    assert ensemble[1] < (first[1] + second[1]) / 2 + 1e-3
    assert sum(weighted[2:]) == pytest.approx(1, abs=0.011)  # weights with two decimals
    assert lines[-1].endswith("largest difference 0e+00")
    assert len(iz.Ensemble.load(tmp_path / "ensemble.safetensors").members) == 2


@pytest.mark.full
def test_two_processes_by_torchrun(tmp_path):
    options = ("--model", "vgg11_bn_cifar", "--images", 96, "--epochs", 1, "--out", ".")
    command = [sys.executable, "-W", WARNINGS, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command = [*map(str, (*command, EXAMPLES / "ddp.py", *options))]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "2 processes; the best model is best.safetensors"
    assert process.stdout.count("epoch 0: loss") == 1
    assert (tmp_path / "best.safetensors").is_file()


@pytest.mark.full
@pytest.mark.parametrize(("model", "epochs"), [("googlenet", 2), ("vgg11_bn_cifar", 2), ("googlenet_paper", 6)])
def test_architectures_learn(tmp_path, model, epochs):
    """Train a model. Without --models, examples/learn.py trains all models in the table of docs/recipes.md."""
    (line,) = run(tmp_path, "learn.py", "--models", model, "--epochs", epochs).splitlines()[2:]
    assert line.split("|")[1].strip() == f"`{model}`"
    assert float(line.split("|")[5]) > 0.5  # accuracy; chance is 0.1


@pytest.mark.full
def test_fashion(tmp_path):
    """Use random images in Fashion-MNIST's file format, with the small network and with torchvision's."""
    sizes = {"train": 128, "t10k": 64}
    for split, count in sizes.items():
        for kind, header, shape in (("images-idx3", 16, (count, 784)), ("labels-idx1", 8, (count,))):
            values = numpy.random.default_rng(0).integers(0, 10, shape, dtype=numpy.uint8)
            (tmp_path / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(bytes(header) + values.tobytes()))
    for peer in ((), ("--peer",)):
        text = run(tmp_path, "fashion.py", "--data", ".", "--epochs", 2, "--out", "out", *peer)
        assert text.startswith("2 epochs in ")
        assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.full
def test_clips(tmp_path):
    """I3D learns in which direction a digit moves; a single frame does not show it."""
    text = run(tmp_path, "clips.py", "--clips", 256, "--epochs", 3)
    assert float(re.search(r"accuracy (\d\.\d+)", text)[1]) > 0.5  # chance is 0.25


@pytest.mark.full
def test_signals(tmp_path):
    """Two networks learn GunPoint's gestures, which sktime holds, and their ensemble is evaluated."""
    lines = run(tmp_path, "signals.py", "--epochs", 10, "--members", 2).splitlines()
    first, second, mean, together = (float(number) for number in re.findall(r"\d\.\d{4}", "\n".join(lines)))
    assert mean == pytest.approx((first + second) / 2, abs=1e-3)
    assert min(first, second, together) > 0.7  # chance is 0.5
