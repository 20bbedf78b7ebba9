"""Operations of one dimension run by kernels for images: each equals torch's, and so does a whole network."""

import copy

import pytest
import torch
from helpers import distance, fill, noise, one_thread
from torch import nn

import inceptionzoo as iz
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference import _signals as signals
from inceptionzoo.inference._executor import FusedStages
from inceptionzoo.inference._modules import ConvAct, PoolBiasAct, TunedMaxPool, TunedOp
from inceptionzoo.inference._program import Program, TorchCall
from inceptionzoo.kernels._launch import LaunchSequence
from inceptionzoo.nn import BATCH_NORMS, SameConv1d


def same(kernel: int, dilation: int = 1, stride: int = 1) -> nn.Conv1d:
    return SameConv1d(8, 16, kernel, stride, dilation=dilation)


CONVOLUTIONS = {
    "plain": nn.Conv1d(8, 16, 3),
    "padded, strided, dilated": nn.Conv1d(8, 16, 3, 2, 4, dilation=3),
    "grouped": nn.Conv1d(8, 16, 4, groups=4),
    "same, odd": same(5),
    "same, even": same(40),
    "same, odd, dilated": same(3, dilation=3),
    "same, even, dilated by 2": same(4, dilation=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@torch.no_grad()
def test_convolutions_in_two_dimensions(name):
    conv, x = copy.deepcopy(CONVOLUTIONS[name]).double(), noise(2, 8, 50).double()
    assert signals.is_tunable_conv(conv)
    assert distance(signals.as_conv2d(conv)(x.unsqueeze(2)).squeeze(2), conv(x)) < 1e-12


@pytest.mark.parametrize(
    "conv",
    [
        same(4, dilation=3),
        same(3, stride=2),
        nn.Conv1d(8, 16, 3, padding="same"),
        nn.Conv1d(8, 16, 3, padding=1, padding_mode="circular"),
        nn.Conv3d(8, 16, 3),
    ],
    ids=str,
)
def test_convolutions_that_run_by_torch(conv):
    assert not signals.is_tunable_conv(conv)


@pytest.mark.parametrize("ceil", [True, False])
def test_pools_in_two_dimensions(ceil):
    x = noise(2, 8, 29)
    for pool in (nn.MaxPool1d(3, 2, 1, 2, ceil_mode=ceil), nn.MaxPool1d((2,), ceil_mode=ceil)):
        assert signals.as_max_pool2d(pool)(x.unsqueeze(2)).squeeze(2).equal(pool(x))
    for pool in (nn.AvgPool1d(3, 2, 1, ceil), nn.AvgPool1d(4, 3, 2, ceil, False)):
        assert distance(signals.as_avg_pool2d(pool)(x.unsqueeze(2)).squeeze(2), pool(x)) < 1e-6


def operations() -> dict[str, tuple[TunedOp, str]]:
    """Return operations with the type of their first implementation in the order of the factories."""
    frozen = [same(40).requires_grad_(False), nn.Conv1d(8, 16, 1).requires_grad_(False)]
    return {
        "rows": (ConvAct(frozen[0], nn.ReLU()), "RowConv"),
        "pointwise": (ConvAct(frozen[1], nn.ReLU(), active=7), "Im2colConv"),
        "max": (TunedMaxPool(nn.MaxPool1d(3, 1, 1)), "MaxPoolOp"),
        "average": (PoolBiasAct(nn.AvgPool1d(3, 1, 1), noise(8), nn.ReLU(), dims=1), "AveragePoolOp"),
    }


@pytest.mark.parametrize("name", operations())
@torch.no_grad()
def test_operations_on_signals(name, monkeypatch):
    monkeypatch.setattr(autotune, "_FASTEST", {})
    operation, kind = operations()[name]
    names = {"RowConv": "rows", "Im2colConv": "im2col"}
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: names.get(kind, "kernel"))
    x = noise(3, 8, 50)
    expected = operation.run_modules(x)
    operation.tuned = True
    for layout in (x, x.transpose(1, 2).contiguous().transpose(1, 2), noise(3, 8, 100)[..., ::2].copy_(x)):
        assert distance(operation(layout), expected) < 1e-5
    assert [type(chosen).__name__ for _, chosen in operation._autotuner.chosen.values()] == [kind]
    autotuner = operation._autotuner
    operation(x)
    assert operation._autotuner is autotuner, "the weights did not change"
    for parameter in operation.parameters():
        parameter.mul_(2)
    operation.tuned = False
    expected = operation.run_modules(x)
    operation.tuned = True
    assert distance(operation(x), expected) < 1e-5


def test_unbatched_signals_run_by_torch():
    operation = ConvAct(nn.Conv1d(8, 16, 3).requires_grad_(False), nn.ReLU())
    operation.tuned = True
    assert operation(noise(8, 20)).shape == (16, 18)


@one_thread()
@pytest.mark.parametrize("options", [{}, {"in_chans": 3}, {"shortcut": "norm"}, {"kernels": (39, 19, 9)}], ids=str)
@torch.no_grad()
def test_inception_time_is_one_sequence_of_kernels(options, monkeypatch):
    """Batch normalisation and ReLU behind the concatenation are folded into its convolutions; only a shortcut's may stay."""
    monkeypatch.setattr(autotune, "_FASTEST", {})
    preferred = "rows", "im2col", "kernel"
    monkeypatch.setattr(
        autotune, "_fastest", lambda candidates, x: next((name for name in preferred if name in candidates), "torch")
    )
    model = fill(iz.create_model("inception_time", **options))
    x = noise(3, model.in_chans, 60)
    fast = iz.fuse(model)
    assert distance(copy.deepcopy(fast).double()(x.double()), model.double()(x.double())) < 1e-6
    assert sum(isinstance(module, BATCH_NORMS) for module in fast.modules()) == (options == {"shortcut": "norm"})
    assert distance(fast(x), model(x.double())) < 1e-5
    assert isinstance(fast.features, FusedStages)
    (program,) = fast.features._programs.values()
    assert isinstance(program, Program)
    kinds = [type(step) for step in program._steps]
    assert kinds.count(LaunchSequence) <= 2
    functions = [step.function for step in program._steps if isinstance(step, TorchCall)]
    assert len(functions) == 2 * (options == {"shortcut": "norm"}) + (model.in_chans > 1), functions  # and copies of layouts


@one_thread()
@torch.no_grad()
def test_signals_that_are_not_finite():
    fast = iz.fuse(fill(iz.create_model("inception_time")))
    x = noise(3, 1, 60)
    expected = fast(x)
    x[1, 0, 30] = float("nan")
    y = fast(x)
    assert y[1].isnan().all()
    assert y[[0, 2]].equal(expected[[0, 2]])


@torch.no_grad()
def test_an_even_kernel_does_not_see_the_zero_before_it(monkeypatch):
    """0 * inf is nan: a map that is not finite is computed by torch, whose kernel has no zero."""
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(iter(candidates)))
    operation = ConvAct(same(4).requires_grad_(False), nn.Identity())
    x = noise(2, 8, 20)
    x[0, 0, 7] = float("inf")
    expected = operation.run_modules(x)
    operation.tuned = True
    y = operation(x)
    assert list(operation._autotuner.factories) == ["rows"]
    assert y.isinf().equal(expected.isinf())
    assert not y.isnan().any()
    assert distance(y[1], expected[1]) < 1e-5


@torch.no_grad()
def test_kept_activation_between_normalisations():
    """What cannot be folded stays: local response normalisation, and layers behind an activation."""
    layers = iz.Conv(8, 3, act=False), iz.Norm(), iz.Act(), iz.Norm(), iz.Norm("lrn"), iz.Act()
    model = fill(iz.build(iz.network(stage=iz.chain(*layers), spatial_dims=1), in_channels=2)).double()
    x = noise(2, 2, 20).double()
    fast = iz.fuse(model)
    assert [type(module).__name__ for module in fast.features.stage] == ["ConvAct", "BatchNorm1d", "LocalResponseNorm", "ReLU"]
    assert distance(fast(x), model(x)) < 1e-9
