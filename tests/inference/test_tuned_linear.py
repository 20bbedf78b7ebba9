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
from inceptionzoo.inference._modules import TunedLinear
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
    layers = [model.head.get_submodule(name) for name in LAYERS]
    chosen = [list(layer._autotuner.chosen.values()) if layer._autotuner else [] for layer in layers]
    return [bool(each) and type(each[-1][1]) is LinearOp for each in chosen]


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 3, MAX_ROWS])
def test_small_batches_run_by_the_kernel(model, count):
    fast = iz.fuse(model)
    assert distance(fast.forward_head(maps(count)), model.forward_head(maps(count))) < CLOSE
    assert kernels(fast) == [True, True, True]
    assert [type(model.head.get_submodule(name)) for name in LAYERS] == [nn.Linear] * 3
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


@torch.no_grad()
def test_layers_with_hooks_stay_torchs(model):
    model.head.hidden["fc1"].register_forward_hook(lambda module, inputs, y: 2 * y)
    fast = iz.fuse(model)
    assert [type(fast.head.get_submodule(name)) for name in LAYERS] == [nn.Linear, TunedLinear, TunedLinear]
    assert distance(fast.head(maps()), model.head(maps())) < CLOSE


@torch.no_grad()
def test_hooks_of_a_fused_layer_are_called(model):
    fast, seen = iz.fuse(model), []
    fast.head.fc.register_forward_hook(lambda module, inputs, y: seen.append(y))
    y = fast.head(maps())
    assert seen[0] is y


@torch.no_grad()
@pytest.mark.parametrize("cache", [True, False])
def test_a_fused_head_is_saved_copied_and_reset(model, cache, tmp_path):
    fast = tuned(iz.fuse(model), cache=cache)
    expected = fast.head(maps())
    iz.save_weights(fast, tmp_path / "m.safetensors")
    for again in (iz.load_model(tmp_path / "m.safetensors"), copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert type(again.head.fc) is TunedLinear
        assert again.head.fc._autotuner is None
        assert again.head(maps()).equal(expected)
    fast.reset_classifier(12)
    assert fast.head(maps()).shape == (2, 12)
    iz.save_weights(fast, tmp_path / "m.safetensors")
    assert distance(iz.load_model(tmp_path / "m.safetensors").head(maps()), fast.head(maps())) < CLOSE


@torch.no_grad()
def test_wrong_inputs_get_torchs_error(model):
    fast = iz.fuse(model)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fast.head.fc(noise(2, 16))
