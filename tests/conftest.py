"""Fixtures that several test files share."""

import os

import pytest
import server  # must come before imports of huggingface_hub; it allows connections to loopback only
import torch
from helpers import tiny_network
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import inceptionzoo as iz
from inceptionzoo.weights.download._retry import RetryPolicy
from inceptionzoo.zoo._registry import REGISTRY

os.environ["KERAS_BACKEND"] = "torch"  # before the first import of keras
os.environ["INCEPTIONZOO_TUNING_CACHE"] = "0"  # tests do not depend on what earlier runs have measured


@pytest.fixture
def register():
    """`register_model`; the registry is restored after the test."""
    before = dict(REGISTRY)
    yield iz.register_model
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The host on loopback, without files, with empty caches and short timeouts."""
    server.HOST.reset()
    monkeypatch.setenv("INCEPTIONZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras_home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(RetryPolicy, "from_environment", lambda: RetryPolicy(read=1.0, total=20.0, attempts=4, pause=0.01))
    yield server.HOST
    server.HOST.reset()


@pytest.fixture
def tiny(register):
    """A model of `tiny_network` with three classes, registered as "tiny", whose buffers differ from their initial values."""
    register("tiny", tiny_network, num_classes=3, input_size=(3, 8, 8))
    torch.manual_seed(0)
    model = iz.create_model("tiny").eval()
    for key, buffer in model.named_buffers():
        buffer.add_(3 if "tracked" in key else torch.rand(buffer.shape))
    return model


@pytest.fixture
def sharded(tiny, tmp_path):
    """`tiny` after `fully_shard`, in a process group of one."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    fully_shard(tiny, mesh=init_device_mesh("cpu", (1,)))
    yield tiny
    distributed.destroy_process_group()


@pytest.fixture
def without_tf32():
    """Float32 is computed in float32 on a GPU too."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
