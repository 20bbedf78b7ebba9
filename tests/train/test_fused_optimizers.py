"""Fused optimizers of torch, which `fit` uses by default, give the weights of the others."""

from functools import partial

import pytest
import torch
from helpers import distance, noise, one_thread, weights
from torch import nn
from torch.optim import SGD, AdamW

import inceptionzoo as iz
from inceptionzoo.train import _setup

TARGETS = torch.arange(8) % 2
BATCHES = list(zip(noise(8, 3, 16, 16).split(4), TARGETS.split(4), strict=True))


@one_thread()
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"freeze_epochs": 1},
        {"momentum": 0.0},
        {"layer_decay": 0.5},
        {"clip_grad_norm": 0.1},
        {"optimizer": "adamw"},
        {"optimizer": "adamw", "freeze_epochs": 1},
    ],
    ids=str,
)
def test_the_weights_are_those_of_the_other_form(make, monkeypatch, options):
    fused, seen = make("plain"), []
    called = _setup.use_fused
    monkeypatch.setattr(_setup, "use_fused", lambda optimizer: (called(optimizer), seen.append(optimizer)))
    iz.fit(fused, BATCHES, epochs=3, **options)
    assert all(group["fused"] for group in seen[0].param_groups)
    monkeypatch.setattr(_setup, "use_fused", lambda optimizer: None)
    other = make("plain")
    iz.fit(other, BATCHES, epochs=3, **options)
    assert distance(weights(fused), weights(other)) < 1e-5
    assert distance(weights(fused), weights(make("plain"))) > 1e-3


@one_thread()
@pytest.mark.parametrize("kind", [partial(SGD, lr=0.5, momentum=0.9), partial(AdamW, lr=0.01)], ids=["SGD", "AdamW"])
def test_fused_optimizers_are_stepped_before_and_after(make, kind):
    """torch's fused optimizers read parameters and their state in the order of memory."""

    def train(*, fused: bool) -> torch.Tensor:
        model = make()
        optimizer, (images, targets) = kind(model.parameters(), fused=fused), BATCHES[0]

        def step() -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model.train()(images), targets).backward()
            optimizer.step()

        step()
        iz.fit(model, BATCHES, epochs=1, optimizer=optimizer)
        step()
        return weights(model)

    assert distance(train(fused=True), train(fused=False)) < 1e-4


@one_thread()
def test_a_fused_optimizer_of_the_callers_may_get_gradients_later(make):
    """torch's fused SGD fails if it has stepped some parameters before and others not."""
    results = []
    for fused in (False, True):
        model = make("plain")
        optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, fused=fused)
        iz.fit(model, BATCHES, epochs=2, optimizer=optimizer, freeze_epochs=1)
        results.append(weights(model))
    assert distance(*results) < 1e-5


@one_thread()
def test_a_hook_may_give_gradients_other_strides(make):
    plain, hooked = make("plain"), make("plain")
    for parameter in hooked.parameters():
        parameter.register_post_accumulate_grad_hook(lambda one: setattr(one, "grad", one.grad.contiguous()))
    for model in (plain, hooked):
        iz.fit(model, BATCHES, epochs=2)
    assert weights(plain).equal(weights(hooked))
