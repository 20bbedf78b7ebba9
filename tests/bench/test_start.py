"""`bench --start` times whole processes, which compute the model's outputs."""

import pytest
import torch
from helpers import distance, fill, noise

import inceptionzoo as iz
from inceptionzoo.bench import _start as start
from inceptionzoo.bench import bench
from inceptionzoo.cli import main

IMAGES = noise(1, 3, 32, 32)


@pytest.fixture(scope="module")
def model() -> iz.Net:
    return fill(iz.create_model("vgg11_bn_cifar", num_classes=3))


def test_processes_compute_the_outputs_of_the_model(model, tmp_path):
    scripts = start.start_scripts(model, IMAGES, tmp_path, with_peers=False)
    assert list(scripts) == ["inceptionzoo", "fused"]
    with torch.inference_mode():
        expected = model(IMAGES)
    for name, script in scripts.items():
        seconds, outputs = start.run_script(script, tmp_path)
        assert seconds > 0
        assert distance(outputs, expected) < 1e-4, name
        (tmp_path / start.OUTPUTS).unlink()


def test_a_process_that_fails_names_its_error(tmp_path):
    with pytest.raises(iz.ZooError, match="ValueError: no weights"):
        start.run_script("raise ValueError('no weights')", tmp_path)


@pytest.mark.full
@pytest.mark.usefixtures("idle")
def test_other_libraries(model, tmp_path):
    network = fill(iz.create_model("vgg11_bn", num_classes=3))
    scripts = start.start_scripts(network, noise(1, 3, 64, 64), tmp_path, with_peers=True)
    assert {"inceptionzoo", "fused", "torchvision"} <= set(scripts)
    with torch.inference_mode():
        expected = network(noise(1, 3, 64, 64))
    for name, script in scripts.items():
        assert distance(start.run_script(script, tmp_path)[1], expected) < 1e-4, name


@pytest.mark.usefixtures("idle")
def test_rows(monkeypatch, capsys):
    """A round times each process once, after a first run that is not timed."""
    runs = []

    def run(script: str, folder: object) -> tuple[float, torch.Tensor]:  # the signature of `run_script`
        runs.append(script)
        return float(len(runs)), torch.ones(1, 10)

    monkeypatch.setattr("inceptionzoo.bench._rows.run_script", run)
    timings = bench(["vgg11_bn_cifar"], job="start", rounds=2, size=32)
    assert [(row.runner, row.batch) for row in timings.rows] == [("inceptionzoo", 1), ("fused", 1)]
    assert len(runs) == 2 + 2 * 2
    assert [row.median for row in timings.rows] == [4000.0, 5000.0]
    assert main(["bench", "vgg11_bn_cifar", "--start", "--rounds", "1", "--size", "32"]) == 0
    assert "fused" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"device": "meta"}, {"precision": "bf16"}], ids=str)
def test_options_without_effect_are_refused(options):
    with pytest.raises(iz.ArgumentError, match="no effect on start"):
        bench(["vgg11_bn_cifar"], job="start", **options)
