"""What fit trains: parts in evaluation mode stay in it, and what is frozen does not move."""

import pytest
import torch
from helpers import noise
from torch import nn

import inceptionzoo as iz
from inceptionzoo.train._modes import freeze_batch_norm

DATA = [(noise(8, 3, 16, 16), torch.arange(8) % 2)]


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_buffers()}


def moved(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of the stages whose statistics have changed."""
    return {name.split(".")[1] for name, value in model.named_buffers() if not value.equal(before[name])}


@pytest.mark.parametrize("options", [{}, {"ema": 0.5}, {"freeze_epochs": 1}, {"checkpoint": True}], ids=str)
def test_parts_in_evaluation_mode_stay_in_it(tiny, options):
    tiny.features.conv1.eval()
    before = statistics(tiny)
    iz.fit(tiny, DATA, DATA, epochs=3, **options)
    assert moved(tiny, before) == {"block"}
    assert tiny.training
    assert not tiny.features.conv1.bn.training
    assert tiny.features.block.training


def test_a_model_in_evaluation_mode_is_trained(tiny):
    before = statistics(tiny.eval())
    iz.fit(tiny, DATA, epochs=1)
    assert moved(tiny, before) == {"conv1", "block"}
    assert all(module.training for module in tiny.modules())


def test_frozen_normalisation_keeps_its_statistics(tiny):
    tiny.eval().features.conv1.requires_grad_(False)
    tiny.features.block.branch1.bn.weight.requires_grad_(False)  # its bias is trained
    before = statistics(tiny)
    iz.fit(tiny, DATA, epochs=2)
    assert moved(tiny, before) == {"block"}
    assert not tiny.features.block.branch1.bn.running_mean.equal(before["features.block.branch1.bn.running_mean"])
    assert tiny.features.conv1.bn.training  # restored after the epoch


def test_frozen_outputs_do_not_move(tiny):
    x = DATA[0][0]
    tiny.features.conv1.requires_grad_(False).eval()
    before = tiny.features.conv1(x)
    iz.fit(tiny, DATA, epochs=2, weight_decay=0.1)
    assert tiny.eval().features.conv1(x).equal(before)


def test_a_callback_may_change_the_mode(tiny):
    """One that leaves the model in evaluation mode changes nothing; one that unfreezes a part takes effect."""
    tiny.features.conv1.eval()
    before = statistics(tiny)
    iz.fit(tiny, DATA, epochs=2, callbacks=[lambda model, row: model.eval()])
    assert moved(tiny, before) == {"block"}
    tiny.train().features.conv1.eval()
    iz.fit(tiny, DATA, epochs=2, callbacks=[lambda model, row: model.features.conv1.train()])
    assert moved(tiny, before) == {"conv1", "block"}


def test_auxiliary_heads_keep_the_modes_of_the_other_parts():
    network = iz.network(stem=iz.Conv(4, 3), aux=(iz.Aux("stem", iz.Conv(2), iz.Head()),))
    model = iz.build(network)
    model.features.stem.bn.eval()
    with_aux = iz.with_aux(model)
    assert not model.features.stem.bn.training
    assert with_aux.training
    assert with_aux.aux.stem.training


def test_batch_normalisation_without_parameters_is_not_frozen():
    norm, frozen = nn.BatchNorm2d(2, affine=False), nn.BatchNorm2d(2).requires_grad_(False)
    with freeze_batch_norm(nn.Sequential(norm, frozen), only_frozen=True):
        assert (norm.training, frozen.training) == (True, False)
    assert frozen.training
