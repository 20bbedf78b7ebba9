"""The wheel in an environment of its own, used from an empty folder, far from the checkout."""

import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import PIP, ROOT, done, run

USE = """
import inceptionzoo as iz
import torch

model = iz.create_model("googlenet_cifar", num_classes=2).eval()
iz.save_weights(model, "mine.safetensors", class_names=["benign", "malignant"])
again, x = iz.load_model("mine.safetensors"), torch.randn(1, 3, 32, 32)
assert torch.equal(model(x), again(x))
print(iz.predict(again, x[0])[0][0])
"""


def resolve(python: Path, wheel: Path) -> str:
    """Return what pip says of the wheel and all that it needs, beside what is there: `pip check` of these alone.

    An environment for development may hold packages that quarrel with each other; those are not looked at.
    """
    found = run(*PIP, python, "install", "--dry-run", "--no-index", wheel, cwd=wheel.parent)
    return found.stdout + found.stderr


def test_it_is_the_wheel_that_is_imported(python, tmp_path):
    program = "import inceptionzoo, importlib.metadata as m; print(inceptionzoo.__file__, m.version('inceptionzoo'))"
    where, told = done(python, "-c", program, cwd=tmp_path).split()
    assert Path(where).is_relative_to(python.parents[1])
    assert not Path(where).is_relative_to(ROOT)
    assert told == version("inceptionzoo")


def test_a_model_is_made_saved_and_loaded(python, tmp_path):
    assert done(python, "-c", USE, cwd=tmp_path).strip() in ("benign", "malignant")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


def test_the_command_line(python, tmp_path):
    for command in ([python.with_name("inceptionzoo")], [python, "-m", "inceptionzoo"]):
        assert done(*command, "list", "vgg16*_bn", cwd=tmp_path) == "vgg16_bn\n"


def test_what_it_needs_is_there_and_agrees(python, distributions):
    said = resolve(python, distributions.wheel)
    assert "inceptionzoo is already installed" in said
    assert "Requirement already satisfied: torch>=2.10" in said
    assert "ERROR" not in said
    assert "Would install" not in said


@pytest.mark.parametrize("wanted", [b"torch>=99", b"no-such-package-of-anyone"])
def test_what_is_not_there_is_seen(python, distributions, tmp_path, wanted):
    """The check above can fail."""
    bad = tmp_path / distributions.wheel.name
    with zipfile.ZipFile(distributions.wheel) as archive, zipfile.ZipFile(bad, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            copy.writestr(name, data.replace(b"torch>=2.10", wanted) if name.endswith("METADATA") else data)
    assert "ERROR" in resolve(python, bad)
