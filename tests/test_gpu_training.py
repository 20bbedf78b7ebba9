"""Training and evaluation on a GPU; see test_gpu.py."""

import os
from pathlib import Path

import pytest
import torch
from helpers import GPU, distance, noise, one_thread
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import inceptionzoo as iz
from inceptionzoo.evaluation import DistributedContext

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("without_tf32")]
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS then gives the same bits in every run


@pytest.fixture
def _deterministic():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def data(count: int = 32) -> tuple[Tensor, Tensor]:
    """Return images of 8 px, brighter in the second class, and their classes."""
    targets = torch.arange(count) % 2
    return noise(count, 3, 8, 8) + targets[:, None, None, None], targets


def loader(*, shuffled: bool) -> DataLoader:
    generator = torch.Generator().manual_seed(1) if shuffled else None
    return DataLoader(TensorDataset(*data()), 8, shuffle=shuffled, generator=generator)


@pytest.mark.usefixtures("tiny")  # registers the network
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("options", [{}, {"checkpoint": True, "ema": 0.5, "clip_grad_norm": 1.0, "accumulate": 2}], ids=str)
def test_fit_learns(precision, options):
    torch.manual_seed(0)
    model = iz.create_model("tiny", num_classes=2)
    arguments = {"epochs": 8, "lr": 0.1, "precision": precision, "device": GPU, "progress": False, **options}
    history = iz.fit(model, loader(shuffled=True), loader(shuffled=False), **arguments)
    assert {(parameter.device.type, parameter.dtype) for parameter in model.parameters()} == {(GPU.type, torch.float32)}
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
    assert history.epochs[-1]["val_accuracy"] > 0.9


def test_evaluate_agrees_with_the_cpu(tiny):
    batches = loader(shuffled=False)
    expected = iz.evaluate(tiny, batches)
    result = iz.evaluate(tiny, batches, device=GPU)
    assert next(tiny.parameters()).device.type == GPU.type
    assert result.outputs.device.type == "cpu"
    assert distance(result.outputs, expected.outputs) < 1e-4
    assert result.targets.equal(expected.targets)
    assert result.loss == pytest.approx(expected.loss, rel=1e-4)
    assert dict(result.metrics) == pytest.approx(dict(expected.metrics), abs=1e-4)


class StopError(Exception):
    """Raised by a callback."""


def stop(model: iz.Net, row: dict[str, float]) -> None:
    if row["epoch"] == 1:
        raise StopError


def train(out: Path, **options: object) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Train with dropout for three epochs, and return the rows and the weights."""
    torch.manual_seed(3)
    model = iz.create_model("tiny", num_classes=2, drop_rate=0.3)
    batches, arguments = loader(shuffled=True), {"epochs": 3, "device": GPU, "out": out, "seed": 4, **options}
    history = iz.fit(model, batches, loader(shuffled=False), **arguments)
    return [{**row, "seconds": 0} for row in history.epochs], model.state_dict()


def assert_same(first: tuple[object, dict[str, Tensor]], second: tuple[object, dict[str, Tensor]], text: str) -> None:
    assert first[0] == second[0], text
    assert [key for key, value in first[1].items() if not value.equal(second[1][key])] == [], text


@one_thread()
@pytest.mark.usefixtures("tiny", "_deterministic")
@pytest.mark.filterwarnings("ignore:.*determinis")
@pytest.mark.parametrize("options", [{}, {"channels_last": False}, {"precision": "bf16"}, {"precision": "fp16"}], ids=str)
def test_resuming_gives_the_same_bits(tmp_path, options):
    expected = train(tmp_path / "a", **options)
    assert_same(train(tmp_path / "b", **options), expected, "two equal trainings differ on this device")
    with pytest.raises(StopError):
        train(tmp_path / "c", callbacks=[stop], **options)
    assert_same(train(tmp_path / "c", **options), expected, "the resumed training differs from the uninterrupted one")
    loaded = iz.load_model(tmp_path / "c" / "best.safetensors", device=GPU)
    assert next(loaded.parameters()).device.type == GPU.type


@pytest.fixture
def group(tmp_path):
    """A process group of one rank, with NCCL for the GPU."""
    backend = "cpu:gloo,cuda:nccl" if GPU.type == "cuda" else "gloo"
    distributed.init_process_group(backend, init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("tiny", "group")
@pytest.mark.filterwarnings("ignore:Grad strides do not match")  # of 1x1 weights in channels_last
def test_one_rank_with_nccl(tmp_path, monkeypatch):
    """`fit` with DistributedDataParallel, which it leaves out for one rank, trains like `fit` without it."""
    numbers = torch.arange(3.0, device=GPU)
    distributed.all_reduce(numbers)
    assert numbers.tolist() == [0, 1, 2]
    rows, weights = train(tmp_path / "a")
    wrapped = []

    def wrap(self: DistributedContext, module: nn.Module) -> nn.Module:
        wrapped.append(DistributedDataParallel(module))
        return wrapped[-1]

    monkeypatch.setattr(DistributedContext, "wrap_ddp", wrap)
    other_rows, other_weights = train(tmp_path / "b")
    assert len(wrapped) == 3
    assert [row["loss"] for row in other_rows] == pytest.approx([row["loss"] for row in rows], rel=1e-3)
    for key, value in weights.items():
        torch.testing.assert_close(other_weights[key], value, rtol=1e-2, atol=1e-3)
