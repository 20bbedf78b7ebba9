"""The benchmark of tools/gpu_bench.py and the checks of tools/gpu.sh, on the CPU."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import inceptionzoo as iz

TOOLS = Path(__file__).parents[1] / "tools"
sys.path.append(str(TOOLS))

import gpu_bench  # noqa: E402
import gpu_forms  # noqa: E402
import gpu_machine  # noqa: E402
import gpu_timing  # noqa: E402
import gpu_training  # noqa: E402
from gpu_table import Table  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """The seconds that have passed for `Budget`, in a list; tests change them."""
    seconds = [100.0]
    monkeypatch.setattr(gpu_timing.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_part_is_skipped_if_the_longest_before_took_more_than_is_left(clock):
    budget, ran = gpu_timing.Budget.of(10), []

    def part(name, seconds):
        def run():
            ran.append(name)
            clock[0] += seconds

        budget.run(name, run)

    part("a", 4)
    part("b", 2)
    part("c", 1)
    part("d", 1)
    assert ran == ["a", "b"]
    assert budget.skipped == ["c", "d"]
    half = budget.section(0.5)
    assert half.left == budget.left / 2 == 2
    half.run("e", lambda: ran.append("e"))
    clock[0] += 9
    half.run("f", lambda: ran.append("f"))
    assert ran[2:] == ["e"]
    assert budget.skipped[2:] == ["f"]
    assert budget.left == 0


def test_calls_are_timed_in_turn():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = gpu_timing.time_in_turn(calls, 3, CPU, least=0)
    prepared = gpu_timing.WARM_UP + 1
    assert "".join(order) == prepared * "a" + prepared * "b" + "ab" + "ba" + "ab"
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    order.clear()
    gpu_timing.time_in_turn({"a": lambda: order.append("a")}, 1, CPU, least=1e-3)
    assert len(order) > prepared + 1


def test_the_table_is_markdown(capsys):
    table = Table()
    table.begin()
    times = {"inceptionzoo, channels_last": [0.002, 0.004], "fused": [0.001, 0.001]}
    table.add(("inference", "googlenet", 8, "bf16"), times, "inceptionzoo, channels_last", {"fused": 3e-3}, {"fused": 12.3})
    table.add(("inference", "googlenet", 8, "bf16"), {"fused": [2.0]}, "inceptionzoo, channels_last")
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert {len(row) for row in rows} == {11}
    assert set("".join(rows[1])) == {"-", ":"}
    assert rows[3][4:] == ["fused", "1", "1-1", "8000", "0.38 (0.25-0.50)", "3e-03", "12"]
    assert rows[4][4:] == ["fused", "2000", "2000-2000", "4", "-", "-", "-"]


def failing(nets, device):
    def fail(_):
        raise RuntimeError("no memory\nand more")

    return {"broken": fail, **gpu_forms.eager_forms(nets, device)}


@pytest.mark.usefixtures("tiny", "without_tf32")
def test_the_forms_of_a_network(capsys):
    """A form that fails is left out and noted, and the others agree with the model."""
    bench = gpu_bench.Bench(CPU, rounds=2)
    bench.inference(failing, "tiny", "fp32", 2, gpu_timing.Budget.of(60))
    rows = [[cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()]
    assert [row[5] for row in rows] == ["inceptionzoo", "inceptionzoo, channels_last", "fused"]
    assert all(float(row[10]) < 1e-5 for row in rows)
    assert bench.table.notes == ["tiny, fp32, batch 2: broken has failed: RuntimeError: no memory"]
    assert bench.table.failed
    bench.training("tiny", "fp32", 2)
    forms = [line.split("|")[5].strip() for line in capsys.readouterr().out.splitlines()]
    assert forms == ["inceptionzoo", "inceptionzoo, memory saving off"]


def test_the_networks_have_the_same_weights():
    model = iz.create_model("googlenet").eval()
    assert gpu_forms.peers(model) == ["torchvision"]
    nets, x = gpu_forms.networks(model, torch.float32), torch.randn(1, 3, 64, 64)
    assert list(nets) == ["inceptionzoo", gpu_forms.REFERENCE, "fused", "torchvision", "torchvision, channels_last"]
    with torch.inference_mode():
        for name, network in nets.items():
            assert network.training is False
            torch.testing.assert_close(network(x), model(x), rtol=1e-3, atol=1e-4)
            formats = {
                weight.is_contiguous(memory_format=torch.channels_last) for weight in network.parameters() if weight.ndim == 4
            }
            assert (formats == {True}) is gpu_forms.is_channels_last(name)


@pytest.mark.usefixtures("without_tf32")
def test_without_time_everything_is_skipped(capsys, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(sys, "argv", ["gpu_bench.py", "--device", "cpu", "--minutes", "0", "--models", "googlenet"])
    assert gpu_bench.main() == 0
    text = capsys.readouterr().out
    assert "skipped for lack of time:\n  googlenet, fp32, batch 1\n" in text
    assert "the training step\n  the training on digits\n  torch.compile: googlenet, bf16, batch 1\n" in text
    assert "CUDA graphs are left out" in text
    assert f"torch {torch.__version__}"[:8] in text


@pytest.mark.full
def test_the_training_on_digits():
    text = gpu_training.train_on_digits(CPU, 0.0, quick=True)
    assert text.startswith("googlenet_cifar trained by fit on 96 of scikit-learn's digits, 16 px, fp32, batches of 32: 1 of 1 ")
    assert text.endswith("on 60 held-out images")


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(gpu_training, "find_spec", lambda name: None)
    name, train, test = gpu_training.digits(16)
    assert name == "made-up images"
    assert (len(train), len(test)) == (1437, 360)
    images, targets = train.tensors
    assert images.shape[1:] == (3, 16, 16)
    assert -1 <= images.min() < -0.5 < 0.5 < images.max() <= 1
    assert targets.unique().tolist() == list(range(10))


def test_why_nothing_can_run(monkeypatch):
    assert gpu_machine.check("cpu") is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "finds no CUDA GPU" in gpu_machine.check("cuda")
    monkeypatch.setattr(gpu_machine, "find_spec", lambda name: None if name in ("torchmetrics", "tqdm") else name)
    assert "not installed: torchmetrics, tqdm; run" in gpu_machine.check("cpu")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_stops_without_packages():
    environment = {**os.environ, "PYTHON": f"{sys.executable} -S", "INCEPTIONZOO_TEST_DEVICE": "cpu"}
    process = subprocess.run(["bash", TOOLS / "gpu.sh"], env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert process.stderr.startswith("these packages are not installed: torch, torchvision, numpy")
    assert process.stdout == ""
