"""The installed wheel, used from an empty folder outside the checkout."""

import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import PIP, ROOT, output, run

USE = """
import inceptionzoo as iz
import torch

model = iz.create_model("googlenet_cifar", num_classes=2).eval()
iz.save_weights(model, "mine.safetensors", class_names=["benign", "malignant"])
again, x = iz.load_model("mine.safetensors"), torch.rand(1, 3, 32, 32)
assert torch.equal(model(x), again(x))
print(iz.predict(again, x[0])[0][0])
"""


def resolve(python: Path, wheel: Path) -> str:
    """Return what pip prints when it looks for the requirements of the wheel among the installed packages.

    Unlike `pip check` it does not report conflicts between other packages of the environment.
    """
    process = run(*PIP, python, "install", "--dry-run", "--no-index", wheel, cwd=wheel.parent)
    return process.stdout + process.stderr


def test_the_wheel_is_imported_and_not_the_checkout(python, tmp_path):
    program = "import inceptionzoo, importlib.metadata as m; print(inceptionzoo.__file__, m.version('inceptionzoo'))"
    file, found_version = output(python, "-c", program, cwd=tmp_path).split()
    assert Path(file).is_relative_to(python.parents[1])
    assert not Path(file).is_relative_to(ROOT)
    assert found_version == version("inceptionzoo")


def test_a_model_is_created_saved_and_loaded(python, tmp_path):
    assert output(python, "-c", USE, cwd=tmp_path).strip() in ("benign", "malignant")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


def test_the_command_line(python, tmp_path):
    for command in ([python.with_name("inceptionzoo")], [python, "-m", "inceptionzoo"]):
        assert output(*command, "list", "vgg16*_bn", cwd=tmp_path) == "vgg16_bn\n"


def test_its_requirements_are_met(python, distributions):
    printed = resolve(python, distributions.wheel)
    assert "inceptionzoo is already installed" in printed
    assert "Requirement already satisfied: torch>=2.10" in printed
    assert "ERROR" not in printed
    assert "Would install" not in printed


@pytest.mark.parametrize("requirement", [b"torch>=99", b"no-such-package-of-anyone"])
def test_an_unmet_requirement_is_reported(python, distributions, tmp_path, requirement):
    """The test above can fail."""
    bad = tmp_path / distributions.wheel.name
    with zipfile.ZipFile(distributions.wheel) as archive, zipfile.ZipFile(bad, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            copy.writestr(name, data.replace(b"torch>=2.10", requirement) if name.endswith("METADATA") else data)
    assert "ERROR" in resolve(python, bad)
