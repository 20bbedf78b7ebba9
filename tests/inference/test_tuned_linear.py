"""Linear layers of fused heads: small batches run by a kernel, everything else by torch."""

import copy
import pickle

import pytest
import torch
from helpers import distance, noise
from torch import nn

import inceptionzoo as iz
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference import tuned
from inceptionzoo.kernels._linear import MAX_ROWS, LinearOp

CLOSE = 1e-6
LAYERS = "hidden.fc1", "hidden.fc2", "fc"


@pytest.fixture(autouse=True)
def prefer_kernels(monkeypatch):
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: "kernel" if "kernel" in candidates else "torch")


@pytest.fixture
def model() -> iz.Net:
    torch.manual_seed(0)
    head = iz.Head("mlp", hidden=(48, 32), size=2)
    model = iz.build(iz.network(stem=iz.Conv(8, 3, 2), head=head)).eval()
    model.reset_classifier(10)
    return model


def maps(count: int = 2) -> torch.Tensor:
    return noise(count, 8, 5, 5)


def kernels(model: iz.Net) -> list[bool]:
    """Return for each linear layer whether the kernel was chosen for its last input sizes."""
    autotuners = [model.head.run_layer._autotuners.get(model.head.get_submodule(name)) for name in LAYERS]
    chosen = [list(autotuner.chosen.values()) if autotuner else [] for autotuner in autotuners]
    return [bool(each) and type(each[-1][1]) is LinearOp for each in chosen]


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 3, MAX_ROWS])
def test_small_batches_run_by_the_kernel(model, count):
    fast = iz.fuse(model)
    assert distance(fast.forward_head(maps(count)), model.forward_head(maps(count))) < CLOSE
    assert kernels(fast) == [True, True, True]
    assert model.head.run_layer is None
    assert not {value.data_ptr() for value in fast.head.parameters()} & {value.data_ptr() for value in model.parameters()}


def traced(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    return torch.jit.trace(fast.head, x, check_trace=False)(x)


def exported(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    return torch.export.export(fast.head, (x,)).module()(x)


def in_autocast(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        y = fast.head(x)
    assert y.dtype == torch.bfloat16
    return y.float()


def in_double(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    return fast.double().head(x.double()).float()


def with_gradient(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        y = fast.head(x.requires_grad_())
        y.sum().backward()
    assert x.grad.abs().sum() > 0
    return y.detach()


def of_trained_weights(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        y = fast.requires_grad_().head(x)
        y.sum().backward()
    assert all(fast.head.get_submodule(name).weight.grad.abs().sum() > 0 for name in LAYERS)
    return y.detach()


def of_a_large_batch(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    return fast.head(x.repeat(9, 1, 1, 1))[:2]


def untuned(fast: iz.Net, x: torch.Tensor) -> torch.Tensor:
    return tuned(fast, False).head(x)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.parametrize(
    "run",
    [traced, exported, in_autocast, in_double, with_gradient, of_trained_weights, of_a_large_batch, untuned],
    ids=lambda run: run.__name__,
)
def test_torch_runs_what_the_kernel_cannot(model, run):
    fast = iz.fuse(model)
    y = run(fast, maps())
    assert kernels(fast) == [False, False, False]
    assert distance(y, model.head(maps())) < (0.02 if run is in_autocast else CLOSE)


def copy_in_place(fast: iz.Net, state: dict[str, torch.Tensor]) -> None:
    for name in LAYERS:
        fast.head.get_submodule(name).weight.copy_(state[f"head.{name}.weight"])


def load(fast: iz.Net, state: dict[str, torch.Tensor]) -> None:
    fast.load_state_dict(state, strict=False)


def assign(fast: iz.Net, state: dict[str, torch.Tensor]) -> None:
    for name in LAYERS:
        weight = nn.Parameter(state[f"head.{name}.weight"].clone(), requires_grad=False)
        fast.head.get_submodule(name).weight = weight


@torch.no_grad()
@pytest.mark.parametrize("change", [copy_in_place, load, assign], ids=lambda change: change.__name__)
def test_changed_weights_are_used(model, change):
    fast = iz.fuse(model)
    fast.head(maps())
    for name in LAYERS:
        model.head.get_submodule(name).weight.mul_(2)
    change(fast, {key: value for key, value in model.state_dict().items() if key.startswith("head.")})
    assert distance(fast.head(maps()), model.head(maps())) < CLOSE
    assert kernels(fast) == [True, True, True]


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Scaled(torch.Tensor):
    """A weight whose values are not those in its memory."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        plain = [arg.as_subclass(torch.Tensor) if isinstance(arg, cls) else arg for arg in args]
        return (
            2 * func(*plain, **kwargs or {})
            if func is nn.functional.linear
            else super().__torch_function__(func, types, args, kwargs)
        )


def hook(layer: nn.Linear) -> nn.Module:
    layer.register_forward_hook(lambda module, inputs, y: 2 * y)
    return layer


def own_forward(layer: nn.Linear) -> nn.Module:
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)
    return layer


def subclass(layer: nn.Linear) -> nn.Module:
    other = Doubled(layer.in_features, layer.out_features).requires_grad_(False)
    other.load_state_dict(layer.state_dict())
    return other


def weight_of_a_subclass(layer: nn.Linear) -> nn.Module:
    layer.weight = nn.Parameter(layer.weight.detach().as_subclass(Scaled), requires_grad=False)
    layer.bias = None
    return layer


@torch.no_grad()
@pytest.mark.parametrize("change", [hook, own_forward, subclass, weight_of_a_subclass], ids=lambda change: change.__name__)
def test_a_changed_layer_runs_as_it_is(model, change):
    model.head.fc.bias.zero_()
    fast = iz.fuse(model)
    expected = 2 * fast.head(maps())
    assert kernels(fast) == [True, True, True]
    fast.head.fc = change(fast.head.fc)
    fast.head.run_layer._autotuners.clear()
    assert distance(fast.head(maps()), expected) < CLOSE
    assert kernels(fast) == [True, True, False]


@torch.no_grad()
def test_hooks_of_the_model_are_kept(model):
    hook(model.head.hidden["fc1"])
    fast = iz.fuse(model)
    assert distance(fast.head(maps()), model.head(maps())) < CLOSE
    assert kernels(fast) == [False, True, True]


@torch.no_grad()
@pytest.mark.parametrize("cache", [True, False])
def test_a_fused_head_is_saved_copied_and_reset(model, cache, tmp_path):
    fast = tuned(iz.fuse(model), cache=cache)
    expected = fast.head(maps())
    iz.save_weights(fast, tmp_path / "m.safetensors")
    for again in (iz.load_model(tmp_path / "m.safetensors"), copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert not again.head.run_layer._autotuners
        assert again.head(maps()).equal(expected)
        assert kernels(again) == [True, True, True]
    assert copy.deepcopy(fast).head.run_layer.cached is cache
    fast.reset_classifier(12)
    fast.requires_grad_(False)
    assert fast.head(maps()).shape == (2, 12)
    iz.save_weights(fast, tmp_path / "m.safetensors")
    assert iz.load_model(tmp_path / "m.safetensors").head(maps()).equal(fast.head(maps()))


@torch.no_grad()
def test_replaced_layers_are_forgotten(model):
    fast = iz.fuse(model)
    for classes in (12, 13, 14):
        fast.reset_classifier(classes)
        fast.requires_grad_(False).head(maps())
    assert kernels(fast) == [True, True, True]
    assert len(fast.head.run_layer._autotuners) == 3


@torch.no_grad()
def test_wrong_inputs_get_torchs_error(model):
    fast = iz.fuse(model)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fast.head.fc(noise(2, 16))
