"""Fixtures that several test files share."""

import pytest
import server  # before all that could import huggingface_hub: nothing but loopback is reached from here on
import torch

import inceptionzoo as iz
from inceptionzoo.weights.download._retry import RetryPolicy
from inceptionzoo.zoo._registry import REGISTRY


def tiny_network(*, five: object = (3, 3), width: int = 4) -> iz.Network:
    """Return a network of every kind of tensor, in a few kilobytes: blocks, normalisation, an auxiliary head."""
    side = iz.Aux("stem", iz.Pool("adaptive_avg", 2), iz.Head("mlp", hidden=(3,), size=2))
    return iz.network(stem=iz.Conv(width, 3), block=iz.inception(2, 2, 2, 2, 2, 2, five=five), aux=(side,))


@pytest.fixture
def register():
    """`register_model`, undone after the test."""
    before = dict(REGISTRY)
    yield iz.register_model
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The host on loopback, empty, with a cache that is empty too, and little patience."""
    server.HOST.reset()
    monkeypatch.setenv("INCEPTIONZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(RetryPolicy, "asked", lambda: RetryPolicy(read=1.0, total=20.0, attempts=4, pause=0.01))
    yield server.HOST
    server.HOST.reset()


@pytest.fixture
def tiny(register):
    """A model of `tiny_network`, registered as "tiny", of three classes, with statistics that are not the initial ones."""
    register("tiny", tiny_network, num_classes=3, input_size=(3, 8, 8))
    torch.manual_seed(0)
    model = iz.create_model("tiny").eval()
    for key, buffer in model.named_buffers():
        buffer.add_(3 if "tracked" in key else torch.rand(buffer.shape))
    return model
