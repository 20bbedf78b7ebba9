"""Optimizer steps: accumulation, precision, checkpointing, moving averages, and running out of memory."""

import copy
import math

import pytest
import torch
from helpers import distance, noise, one_thread, weights
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import inceptionzoo as iz
from inceptionzoo.train._average import MovingAverage
from inceptionzoo.train._modes import freeze_batch_norm


def batches(size: int, count: int = 24) -> list[tuple[torch.Tensor, torch.Tensor]]:
    targets = torch.arange(count) % 2
    images = noise(count, 3, 16, 16) + targets[:, None, None, None]
    return list(zip(images.split(size), targets.split(size), strict=True))


@one_thread()
@pytest.mark.parametrize(("size", "times"), [(4, 2), (2, 4), (3, 3), (5, 2)])
def test_accumulated_batches_are_the_large_batch(make, size, times):
    """Also if the last batch, or the last group of batches, is smaller."""
    small, large = make("plain"), make("plain")
    history = iz.fit(small, batches(size), epochs=2, accumulate=times)
    iz.fit(large, batches(size * times), epochs=2)
    assert distance(weights(small), weights(large)) < 1e-5
    assert distance(weights(small), weights(make("plain"))) > 1e-3
    assert history.epochs[0]["loss"] > 0


class Refilling:
    """A loader that writes each batch into the same memory."""

    def __init__(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.batches = batches

    def __iter__(self):
        images, targets = (torch.empty_like(part) for part in self.batches[0])
        for batch in self.batches:
            images.copy_(batch[0])
            targets.copy_(batch[1])
            yield images, targets


@one_thread()
def test_a_loader_may_use_its_memory_again(make):
    refilled, expected = make(), make()
    data = [(images, torch.full((4,), index % 2)) for index, (images, _) in enumerate(batches(4))]
    iz.fit(refilled, Refilling(data), epochs=2, accumulate=2)
    iz.fit(expected, data, epochs=2, accumulate=2)
    assert weights(refilled).equal(weights(expected))


@one_thread()
def test_accumulation_with_class_weights(make):
    """Weighted cross entropy divides by the sum of the weights of a batch, which differs between batches."""
    small, large = make("plain"), make("plain")
    targets = torch.tensor([0, 0, 0, 1, 1, 1, 0, 1])
    images = noise(8, 3, 16, 16)
    options = {"epochs": 2, "class_weights": torch.tensor([1.0, 10.0])}
    iz.fit(small, list(zip(images.split(2), targets.split(2), strict=True)), accumulate=2, **options)
    iz.fit(large, list(zip(images.split(4), targets.split(4), strict=True)), **options)
    assert distance(weights(small), weights(large)) < 1e-5


def test_batch_normalisation_uses_the_small_batches(make):
    small, large = make(), make()
    iz.fit(small, batches(4), epochs=1, accumulate=2)
    iz.fit(large, batches(8), epochs=1)
    assert distance(weights(small), weights(large)) > 1e-4  # as the documentation says


@one_thread()
def test_checkpointing_gives_the_same_weights(make):
    plain, kept = make(), make()
    iz.fit(plain, batches(8), epochs=2)
    iz.fit(kept, batches(8), epochs=2, checkpoint=True)
    assert all(value.equal(kept.state_dict()[key]) for key, value in plain.state_dict().items())
    assert not kept.grad_checkpointing


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_leaves_float32(make, precision):
    model, seen = make(), set()
    model.features.block.branch1.conv.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    history = iz.fit(model, batches(8), batches(8), epochs=8, precision=precision)
    assert torch.float32 in seen  # validation
    assert seen - {torch.float32} == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert history.epochs[-1]["val_accuracy"] > 0.8
    exact = make()
    iz.fit(exact, batches(8), epochs=8)
    assert 0 < distance(weights(model), weights(exact)) < 0.2


@one_thread()
def test_ema_equals_torchs_averaged_model(make, tmp_path):
    """With a decay of 2/11, 3/12 and then 0.3."""
    model, other = make(), make()
    history = iz.fit(model, batches(8), batches(8), epochs=3, ema=0.3, out=tmp_path)

    def update(averages: object, values: object, count: torch.Tensor) -> None:
        decay = {1: 2 / 11, 2: 3 / 12}.get(int(count), 0.3)
        get_ema_multi_avg_fn(decay)(averages, values, count)

    averaged = AveragedModel(other, multi_avg_fn=update, use_buffers=True)
    optimizer, schedule = iz.train.recipe(other, 3)
    other.to(memory_format=torch.channels_last).train()
    for _ in range(3):
        for images, targets in batches(8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(other(images), targets).backward()
            optimizer.step()
            averaged.update_parameters(other)
        schedule.step()
    assert distance(weights(model), weights(averaged.module)) < 1e-6
    assert distance(weights(model), weights(other)) > 1e-4
    assert iz.evaluate(model, batches(8)).loss == pytest.approx(history.epochs[-1]["val_loss"], rel=1e-5)


def test_ema_has_the_decays_of_tensorflow():
    """With weights of 1, 0, 0, 0, 0 the average is the product of the decays."""
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, 0.3)
    for value, expected in zip((1, 0, 0, 0, 0), (1, 2 / 11, 3 / 12, 0.3, 0.3), strict=True):
        before = average.model.weight.item() if value == 0 else 1
        nn.init.constant_(model.weight, value)
        average.update(model)
        assert average.model.weight.item() == pytest.approx(before * expected)


def test_ema_follows_a_short_training(make):
    """With a constant decay of 0.999, the average of 12 steps would have 99 % of the first step's weights."""
    averaged, model = make(), make()
    iz.fit(averaged, batches(8), epochs=4, ema=0.999)
    iz.fit(model, batches(8), epochs=4)
    start = weights(make())
    assert (weights(averaged) - start).norm() > 0.8 * (weights(model) - start).norm()


def test_ema_copies_counters(make):
    averaged, model = make(), make()
    iz.fit(averaged, batches(8), epochs=2, ema=0.9)
    iz.fit(model, batches(8), epochs=2)
    for name, count in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            assert averaged.get_buffer(name).item() == count.item() == 6


def gradient_norm(optimizer: torch.optim.Optimizer) -> float:
    gradients = [parameter.grad.flatten() for group in optimizer.param_groups for parameter in group["params"]]
    return float(torch.cat(gradients).norm())


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"precision": "fp16"}], ids=str)
def test_clip_grad_norm(make, options):
    """The step sees gradients of the largest norm, unscaled, and smaller ones as they are."""
    norms = {}
    for limit in (None, 1e-3, 1e3):
        model = make("plain")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        seen = norms[limit] = []
        optimizer.register_step_pre_hook(lambda *_, seen=seen, optimizer=optimizer: seen.append(gradient_norm(optimizer)))
        iz.fit(model, batches(6), epochs=1, optimizer=optimizer, clip_grad_norm=limit, **options)
    assert norms[1e-3] == pytest.approx([1e-3] * len(norms[1e-3]), rel=1e-2)
    assert min(norms[1e3]) > 1e-2
    if "precision" not in options:
        assert norms[1e3] == norms[None]


def test_the_memory_format_is_restored(make, tmp_path):
    model = make()
    iz.fit(model, batches(8), epochs=1, out=tmp_path)
    assert torch.nn.utils.parameters_to_vector(model.parameters()).isfinite().all()
    assert all(parameter.is_contiguous() and parameter.grad.is_contiguous() for parameter in model.parameters())
    model.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        iz.fit(model, batches(8), epochs=1)
    assert all(parameter.is_contiguous() for parameter in model.parameters())
    kept = make().to(memory_format=torch.channels_last)
    iz.fit(kept, batches(8), epochs=1)
    assert kept.is_channels_last


def test_training_runs_in_channels_last(make):
    model, seen = make(), set()
    model.features.conv1.register_forward_hook(lambda *_: seen.add(model.is_channels_last))
    for channels_last in (True, False):
        seen.clear()
        iz.fit(model, batches(8), epochs=1, channels_last=channels_last)
        assert seen == {channels_last}


def test_a_batch_of_one_is_trained_with_running_statistics(make):
    model = make()
    model.set_input_size(16)
    one = [(noise(1, 3, 1, 1), torch.tensor([1]))]
    with pytest.warns(UserWarning, match="a batch of one image gives batch normalisation a single value .* drop_last=True"):
        iz.fit(model, [*batches(8), *one], epochs=1)
    assert weights(model).isfinite().all()
    with pytest.warns(UserWarning, match="a batch of one image"):
        iz.fit(make(), [*batches(8), *one], epochs=1, checkpoint=True)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {module.num_batches_tracked.item() for module in norms} <= {3, 4}
    model.train()
    before = copy.deepcopy(model.state_dict())
    with freeze_batch_norm(model):
        model(noise(4, 3, 16, 16))
        assert not norms[0].training
    assert norms[0].training
    assert all(value.equal(model.state_dict()[key]) for key, value in before.items())


def test_losses_take_a_model_of_the_library():
    with pytest.raises(iz.ArgumentError, match="model is a Linear; Losses takes a model of create_model or build"):
        iz.train.Losses(nn.Linear(2, 2), nn.functional.cross_entropy)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), None], ids=["gpu", "cpu"])
def test_out_of_memory_names_the_remedies(make, monkeypatch, error):
    model = make()

    def fail(x: torch.Tensor) -> torch.Tensor:
        if error:
            raise error
        return x.new_empty(2**50)  # raises torch's own error on the CPU

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(iz.TrainingError) as error_info:
        iz.fit(model, batches(12), epochs=1)
    text = "out of memory with a batch of 12: pass checkpoint=True .*, precision='bf16' .*, or batches of 6 with accumulate=2"
    assert error_info.match(text)
    monkeypatch.setattr(model, "forward", lambda x: (_ for _ in ()).throw(RuntimeError("another")))
    with pytest.raises(RuntimeError, match="another"):
        iz.fit(model, batches(12), epochs=1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"accumulate": 0}, "accumulate=0 must be an int"),
        ({"accumulate": 1.5}, "accumulate=1.5"),
        ({"precision": "fp8"}, "precision='fp8' must be one of 'fp32', 'bf16', 'fp16'"),
        ({"checkpoint": "yes"}, "checkpoint='yes'"),
        ({"ema": 1.0}, "ema=1.0 must be a number with 0 <= ema < 1"),
        ({"ema": math.nan}, "ema=nan"),
        ({"clip_grad_norm": 0}, "clip_grad_norm=0 must be greater than 0; pass None to leave it out"),
        ({"clip_grad_norm": -1.0}, "clip_grad_norm=-1.0 must be a finite number"),
        ({"resume": "always"}, "resume='always' must be one of True, False, 'auto'"),
    ],
    ids=str,
)
def test_invalid_step_arguments(make, options, text):
    model = make()
    before = weights(model)
    with pytest.raises(iz.ArgumentError) as error:
        iz.fit(model, batches(8), epochs=1, **options)
    assert text in str(error.value)
    assert weights(model).equal(before)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast_needs_float32_weights(make, precision):
    with pytest.raises(
        iz.ArgumentError, match=f"precision='{precision}' needs weights of torch.float32, and these are torch.f"
    ):
        iz.fit(make().double(), batches(8), epochs=1, precision=precision)
