"""bench: what it measures and says. No test looks at a time."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import noise
from PIL import Image

import inceptionzoo as iz
from inceptionzoo.bench import _jobs as jobs
from inceptionzoo.bench import _measure as measure
from inceptionzoo.bench import _peers as peers
from inceptionzoo.bench import _run as run
from inceptionzoo.bench import bench, memory
from inceptionzoo.cli import _main as cli

HERE = torch.device("cpu")


def test_calls_take_turns():
    seen = []
    calls = {name: lambda name=name: seen.append(name) for name in "abc"}
    times = measure.take_turns(calls, 4, HERE)
    assert seen == list("aabbcc") * (measure.WARM_UP + 4)
    assert {name: len(found) for name, found in times.items()} == dict.fromkeys("abc", 4)


def test_a_ratio_is_taken_round_by_round():
    middle, low, high = measure.ratio([2.0, 20.0, 6.0], [1.0, 10.0, 2.0])
    assert (middle, low, high) == (2.0, 2.0, 3.0)
    assert measure.ratio([3.0], [2.0]) == (1.5, 1.5, 1.5)


def test_quartiles_of_two_rounds_lie_between_them():
    assert measure.quartiles([1.0, 9.0]) == (1.0, 5.0, 9.0)
    assert measure.quartiles([3.0]) == (3.0, 3.0, 3.0)


def test_the_load_is_of_others(monkeypatch):
    ticks = iter([1000, 1000 + measure.os.sysconf("SC_CLK_TCK") // 5])
    monkeypatch.setattr(measure, "_ticks", lambda: next(ticks))
    assert measure.load(0.1) == pytest.approx(2.0)
    monkeypatch.setattr(measure, "_ticks", lambda: None)
    monkeypatch.setattr(measure.os, "getloadavg", lambda: (0.7, 0.1, 0.1))
    assert measure.load(0.1) == 0.7  # the last minute's, where nothing is said of now


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(run, "load", lambda: 0.0)
    monkeypatch.setattr(run, "gemm_peak", lambda device: 1e11)


@pytest.mark.usefixtures("quiet")
def test_rows_beside_peers(tmp_path):
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


@pytest.mark.usefixtures("quiet")
def test_bf16(monkeypatch):
    """Weights and images are in bfloat16, and what differs from float32 is told."""
    seen = {}

    def watch(calls, rounds, device):
        seen.update({name: call.args[0].dtype for name, call in calls.items()})
        return {name: [float(rounds)] for name in calls}

    monkeypatch.setattr(run, "take_turns", watch)
    options = {"batches": [2], "size": 64, "rounds": 1, "with_peers": True, "compiled": False, "precision": "bf16"}
    timings = bench(["googlenet"], **options)
    runners = [row.runner for row in timings.rows]
    assert runners == ["inceptionzoo", "fused", "torchvision", "torchvision, channels_last"]
    assert seen == dict.fromkeys(runners, torch.bfloat16)
    assert all(1e-4 < row.apart < 5e-2 for row in timings.rows)
    assert "bf16" in str(timings)
    with pytest.raises(iz.ArgumentError, match=r"precision='bf16' has no effect on loading"):
        bench(["googlenet"], job="loading", precision="bf16")


def test_a_step_in_bf16():
    """Autocast computes in bfloat16; weights and gradients stay float32."""
    net, types = iz.create_model("vgg11_bn_cifar", num_classes=2), []
    net.features[0].register_forward_hook(lambda module, args, out: types.append(out.dtype))
    for precision in ("bf16", "fp32"):
        jobs.train_step(net, noise(4, 3, 32, 32), precision)()
    assert types == [torch.bfloat16, torch.float32]
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_a_peer_is_not_our_own_model():
    """What our bridge puts into timm is no other library's."""
    iz.interop.timm.register()
    found = {name: peers.layout_of(iz.create_model(name), "timm") for name in ("googlenet", "inception_v4", "vgg16_bn")}
    assert found == {"googlenet": None, "inception_v4": "timm", "vgg16_bn": "timm"}


def test_a_busy_machine_gets_no_ratio(monkeypatch):
    loads = iter([0.0, 1.3])  # busy after the first measurement
    monkeypatch.setattr(run, "load", lambda: next(loads))
    monkeypatch.setattr(run, "gemm_peak", lambda device: 1e11)
    timings = bench(["vgg11_bn_cifar"], batches=[1], rounds=1, compiled=False)
    assert {row.ratio for row in timings.rows} == {None}
    assert "the machine is busy" in str(timings)


@pytest.mark.usefixtures("quiet")
def test_the_command(capsys, tmp_path):
    options = ["--batch", "1", "--rounds", "1", "--no-compile", "--plot", str(tmp_path / "bench.png")]
    assert cli.main(["bench", "vgg11_bn_cifar", *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["runner"] for row in told["rows"]] == ["inceptionzoo", "fused"]
    assert (tmp_path / "bench.png").is_file()
    assert cli.main(["bench", "vgg11_bn_cifar", *options]) == 0
    assert "vgg11_bn_cifar" in capsys.readouterr().out
    assert cli.main(["bench", "vgg11_bn_cifar", "--train", "--batch", "2", "--rounds", "1", "--json"]) == 0
    assert {row["runner"] for row in json.loads(capsys.readouterr().out)["rows"]} == {
        "inceptionzoo", "inceptionzoo, checkpointed"
    }  # fmt: skip
    for wrong, text in ((["vgg99"], "did you mean"), (["vgg16", "--plot", "x.xyz"], "must be one of '.png', '.pdf', '.svg'")):
        assert cli.main(["bench", *wrong]) == 1
        assert text in capsys.readouterr().err


@pytest.mark.usefixtures("quiet")
def test_training():
    timings = bench(["googlenet"], batches=[2], size=64, rounds=2, job="training", with_peers=True, precision="bf16")
    assert [row.runner for row in timings.rows] == ["inceptionzoo", "inceptionzoo, checkpointed", "torchvision"]
    assert timings.rows[0].ratio == (1.0, 1.0, 1.0)
    assert all(row.memory > 1 and row.apart is None and row.share is None for row in timings.rows)
    assert str(timings).count("googlenet") == 3


def test_a_step_trains():
    model = iz.create_model("vgg11_bn_cifar", num_classes=2)
    for name, build in jobs.train_networks(model, peers=False).items():
        net = build()
        before = copy.deepcopy(net.state_dict())
        step = jobs.train_step(net, noise(4, 3, 32, 32))
        step()
        assert net.grad_checkpointing == name.endswith("checkpointed")
        assert not any(value.equal(before[key]) for key, value in net.named_parameters() if key.endswith("weight"))
        assert {parameter.grad for parameter in net.parameters()} == {None}


@pytest.mark.usefixtures("quiet")
def test_loading():
    """Each file is read by us and by its library, and the outputs are the same."""
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


@pytest.mark.usefixtures("quiet")
def test_loading_without_peers_and_of_a_model_of_ones_own(register):
    timings = bench(["googlenet"], rounds=1, size=64, job="loading")
    assert [row.runner for row in timings.rows] == ["inceptionzoo, random", "inceptionzoo, its file"]
    assert all(row.memory > 25 for row in timings.rows)
    register("mine", iz.network(one=iz.Conv(8, 3, 2)), num_classes=2, input_size=(3, 16, 16))
    with pytest.warns(UserWarning, match="no memory of inceptionzoo.*: a process of its own ended with .*UnknownModelError"):
        timings = bench(["mine"], batches=[2], rounds=1, job="training")
    assert {row.memory for row in timings.rows} == {None}
    with pytest.raises(iz.ArgumentError, match="no effect on loading"):
        bench(["googlenet"], job="loading", device="meta")


def test_memory():
    """In a process of its own, where nothing else is given back meanwhile."""
    code = "from inceptionzoo.bench.memory import peak; print(*(peak(lambda: len(b'1' * (n << 20))) for n in (1, 64, 256)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    small, middle, large = map(float, told)
    assert small < 16
    assert 48 < middle < 80
    assert 240 < large < 272
    found = [
        memory.in_its_own_process(
            model="vgg11_bn_cifar", runner="inceptionzoo", threads=1, peers=False, shape=[count, 3, 32, 32]
        )
        for count in (2, 64)
    ]
    assert found[0] + 5 < found[1]


def test_memory_elsewhere(monkeypatch):
    monkeypatch.setattr(memory, "CLEAR", Path("/no/such/file"))
    assert memory.in_its_own_process(model="vgg11_bn_cifar", runner="inceptionzoo", threads=1, peers=False) is None


def test_refusals():
    for options, text in (
        ({"rounds": 0}, "rounds=0"),
        ({"size": 0}, "size=0"),
        ({"batches": [0]}, "batches=0"),
        ({"job": "baking"}, "job='baking'"),
        ({"device": "gpu"}, "device='gpu'"),
    ):
        with pytest.raises(iz.ArgumentError, match=text):
            bench(["vgg11_bn_cifar"], **options)
