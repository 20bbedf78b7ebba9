"""The model that the tests of training share."""

from collections.abc import Callable

import pytest
import torch
from trainings import NETWORK

import inceptionzoo as iz


@pytest.fixture
def make(register) -> Callable[..., iz.Net]:
    """A function that creates "tiny", the network of `trainings`, or "plain", the same without batch normalisation."""
    register("tiny", iz.network(NETWORK), num_classes=2, input_size=(3, 8, 8))
    register("plain", iz.network(NETWORK, style=iz.Style(norm=None, bias=True)), num_classes=2, input_size=(3, 8, 8))

    def create(name: str = "tiny", **options: object) -> iz.Net:
        torch.manual_seed(0)
        return iz.create_model(name, **options)

    return create


@pytest.fixture
def tiny(make) -> iz.Net:
    """A network that trains in milliseconds."""
    return make()
