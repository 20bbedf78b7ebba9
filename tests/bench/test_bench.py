"""bench: its rows, its table and its command. No test asserts a time."""

import json

import pytest
import torch
from PIL import Image

import inceptionzoo as iz
from inceptionzoo.bench import _rows as rows
from inceptionzoo.bench import _run as run
from inceptionzoo.bench import bench
from inceptionzoo.cli import main


@pytest.mark.usefixtures("idle")
def test_rows_of_all_libraries(tmp_path):
    timings = bench(["vgg11_bn_cifar", "googlenet"], batches=[2], size=40, rounds=2, with_peers=True, compiled=False)
    runners = [row.runner for row in timings.rows if (row.model, row.batch) == ("googlenet", 2)]
    assert runners[:2] == ["inceptionzoo", "fused"]
    assert {"torchvision", "torchvision, channels_last", "ONNX Runtime"} <= set(runners)
    assert all(row.apart < 1e-4 for row in timings.rows)
    for row in timings.rows:
        assert 0 < row.low <= row.median <= row.high
        assert row.ratio is not None
    best = min((row for row in timings.rows[:2]), key=lambda row: row.median)
    assert best.ratio == (1.0, 1.0, 1.0)
    lines = str(timings).splitlines()
    assert "2 rounds" in lines[0]
    assert "torch 2" in lines[1]
    assert len([line for line in lines if line.startswith("googlenet")]) == len(runners)
    assert len(timings.to_json()["rows"]) == len(timings.rows)
    timings.plot(tmp_path / "bench.png")
    with Image.open(tmp_path / "bench.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.usefixtures("idle")
def test_signals_and_clips(register):
    register("clip", iz.network(one=iz.Conv(8, 3, 2), spatial_dims=3), num_classes=2, input_size=(3, 4, 16, 16))
    timings = bench(["inception_time", "clip"], batches=[2], size=40, rounds=1, with_peers=True, compiled=False)
    assert {(row.model, row.size) for row in timings.rows} == {("inception_time", 40), ("clip", (4, 40, 40))}
    assert {row.runner for row in timings.rows} >= {"inceptionzoo", "fused", "ONNX Runtime"}
    assert max(row.apart for row in timings.rows) < 1e-4
    assert "4x40x40" in str(timings)
    training = bench(["inception_time"], batches=[2], size=40, rounds=1, job="training", compiled=False)
    assert [row.size for row in training.rows] == [40] * 4
    assert all(row.memory > 0 for row in training.rows)


@pytest.mark.usefixtures("idle")
def test_bf16(monkeypatch):
    """Weights and images are in bfloat16, and errors are relative to float32."""
    dtypes = {}

    def record(calls, rounds, device):
        dtypes.update({name: call.args[0].dtype for name, call in calls.items()})
        return {name: [float(rounds)] for name in calls}

    monkeypatch.setattr(rows, "time_interleaved", record)
    options = {"batches": [2], "size": 64, "rounds": 1, "with_peers": True, "compiled": False, "precision": "bf16"}
    timings = bench(["googlenet"], **options)
    runners = [row.runner for row in timings.rows]
    assert runners == ["inceptionzoo", "fused", "torchvision", "torchvision, channels_last"]
    assert dtypes == dict.fromkeys(runners, torch.bfloat16)
    assert all(1e-4 < row.apart < 5e-2 for row in timings.rows)
    assert "bf16" in str(timings)
    with pytest.raises(iz.ArgumentError, match=r"precision='bf16' has no effect on loading"):
        bench(["googlenet"], job="loading", precision="bf16")


def test_a_busy_machine_gets_no_ratio(monkeypatch):
    loads = iter([0.0, 1.3])  # busy after the first measurement
    monkeypatch.setattr(run, "background_load", lambda: next(loads))
    monkeypatch.setattr(run, "gemm_peak", lambda device: 1e11)
    timings = bench(["vgg11_bn_cifar"], batches=[1], rounds=1, compiled=False)
    assert {row.ratio for row in timings.rows} == {None}
    assert "the machine is busy" in str(timings)


@pytest.mark.usefixtures("idle")
def test_the_command(capsys, tmp_path):
    options = ["--batch", "1", "--rounds", "1", "--no-compile", "--plot", str(tmp_path / "bench.png")]
    assert main(["bench", "vgg11_bn_cifar", *options, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [row["runner"] for row in values["rows"]] == ["inceptionzoo", "fused"]
    assert (tmp_path / "bench.png").is_file()
    assert main(["bench", "vgg11_bn_cifar", *options]) == 0
    assert "vgg11_bn_cifar" in capsys.readouterr().out
    assert main(["bench", "vgg11_bn_cifar", "--train", "--no-compile", "--batch", "2", "--rounds", "1", "--json"]) == 0
    assert {row["runner"] for row in json.loads(capsys.readouterr().out)["rows"]} == {
        "inceptionzoo", "inceptionzoo, memory saving off", "inceptionzoo, kernels off", "inceptionzoo, checkpointed"
    }  # fmt: skip
    for arguments, text in (
        (["vgg99"], "did you mean"),
        (["vgg16", "--plot", "x.xyz"], "must be one of '.png', '.pdf', '.svg'"),
    ):
        assert main(["bench", *arguments]) == 1
        assert text in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.usefixtures("idle")
def test_training():
    options = {"batches": [2], "size": 64, "rounds": 2, "job": "training", "with_peers": True, "compiled": False}
    timings = bench(["googlenet"], precision="bf16", **options)
    assert [row.runner for row in timings.rows] == [
        "inceptionzoo", "inceptionzoo, memory saving off", "inceptionzoo, kernels off", "inceptionzoo, checkpointed",
        "torchvision", "torchvision, channels_last",
    ]  # fmt: skip
    assert timings.rows[0].ratio == (1.0, 1.0, 1.0)
    assert all(row.memory > 1 and row.apart is None and row.share is None for row in timings.rows)
    assert str(timings).count("googlenet") == 6


@pytest.mark.full
@pytest.mark.usefixtures("idle")
def test_loading():
    """Each file is loaded by this library and by its own, and the outputs are the same."""
    timings = bench(["googlenet"], rounds=1, size=64, job="loading", with_peers=True)
    assert [row.runner for row in timings.rows] == [
        "inceptionzoo, random", "inceptionzoo, its file", "torchvision, random", "inceptionzoo, torchvision's file",
        "torchvision, its file",
    ]  # fmt: skip
    apart = {row.runner: row.apart for row in timings.rows}
    assert {apart["inceptionzoo, its file"], apart["inceptionzoo, torchvision's file"]} == {0.0}
    assert apart["torchvision, its file"] < 1e-5
    assert apart["torchvision, random"] is None
    assert all(row.memory > 25 for row in timings.rows)  # MiB; the weights are 25.3


@pytest.mark.full
@pytest.mark.usefixtures("idle")
def test_loading_without_peers_and_training_a_custom_model(register):
    timings = bench(["googlenet"], rounds=1, size=64, job="loading")
    assert [row.runner for row in timings.rows] == ["inceptionzoo, random", "inceptionzoo, its file"]
    assert all(row.memory > 25 for row in timings.rows)
    register("mine", iz.network(one=iz.Conv(8, 3, 2)), num_classes=2, input_size=(3, 16, 16))
    with pytest.warns(
        UserWarning, match="the memory of inceptionzoo.* is unknown: its process failed with .*UnknownModelError"
    ):
        timings = bench(["mine"], batches=[2], rounds=1, job="training", compiled=False)
    assert {row.memory for row in timings.rows} == {None}
    with pytest.raises(iz.ArgumentError, match="no effect on loading"):
        bench(["googlenet"], job="loading", device="meta")


def test_refusals():
    for options, text in (
        ({"rounds": 0}, "rounds=0"),
        ({"size": 0}, "size=0"),
        ({"batches": [0]}, "batches=0"),
        ({"job": "baking"}, "job='baking'"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"device": "meta"}, "device='meta' computes nothing; use 'cpu' or a GPU"),
    ):
        with pytest.raises(iz.ArgumentError, match=text):
            bench(["vgg11_bn_cifar"], **options)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((),), r"names=\(\) must be a list of one or more"),
        (("googlenet", {"batches": 1}), "batches=1 must be a list of one or more"),
        (("googlenet", {"batches": ()}), r"batches=\(\) must be a list of one or more"),
        (("g",), "unknown model 'g'"),
    ],
    ids=str,
)
def test_names_and_batches_are_lists(arguments, text):
    name, options = arguments if len(arguments) == 2 else (*arguments, {})
    with pytest.raises(iz.ZooError, match=text):
        bench(name, **options)


def test_a_network_without_a_name_is_refused(tmp_path):
    iz.save_weights(iz.build(iz.network(a=iz.Conv(4, 3))), tmp_path / "a.safetensors")
    with pytest.raises(iz.ArgumentError, match="holds a network without a name, which bench cannot build again"):
        bench(str(tmp_path / "a.safetensors"))


@pytest.mark.usefixtures("idle")
def test_folders_of_save_pretrained_are_timed(tmp_path):
    for name in ("first", "second"):
        iz.save_pretrained(iz.create_model("googlenet_cifar", num_classes=2), tmp_path / name)
    names = [str(tmp_path / "first"), f"local-dir:{tmp_path / 'second'}"]
    timings = bench(names, batches=[1], rounds=1, compiled=False)
    assert [row.model for row in timings.rows] == [name for name in names for _ in ("inceptionzoo", "fused")]
    lines = str(timings).splitlines()[-4:]
    assert len({line.index(" 32 ") for line in lines}) == 1
