"""Operations of training by kernels agree with torch's, and step aside where torch must compute."""

import copy
from collections.abc import Iterator

import pytest
import torch
from convolutions import gradients, maps, second_gradients
from helpers import distance, fill
from torch import nn
from torch.func import functional_call, vmap

import inceptionzoo as iz
from inceptionzoo.kernels import KernelOps, _training
from inceptionzoo.kernels import _buffers as buffers
from inceptionzoo.kernels._convolution_training import ConvFunction, ConvSettings

TOLERANCE = 2e-5  # relative to the largest value, of Winograd's F(4, r)


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let small convolutions run by Winograd's method, too."""
    monkeypatch.setattr(_training, "MIN_PRODUCTS", 0)
    monkeypatch.setattr(_training, "MIN_PIXELS", 0)
    return


def make_conv(into: int = 16, out: int = 24, kernel: int | tuple[int, int] = 3, **options: object) -> nn.Conv2d:
    """Return a channels_last convolution in training mode."""
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    layer = nn.Conv2d(into, out, sides, **{"padding": tuple(side // 2 for side in sides), **options})
    return layer.to(memory_format=torch.channels_last)


def expected(layer: nn.Conv2d, x: torch.Tensor) -> list[torch.Tensor]:
    return gradients(lambda layer, x: layer(x), copy.deepcopy(layer).double(), x.double())


@pytest.fixture
def functions(monkeypatch) -> list[object]:
    """The convolutions by Winograd's algorithm."""
    calls, apply = [], ConvFunction.apply

    def record(settings: ConvSettings, *args: object) -> torch.Tensor:
        if settings.method == "winograd":
            calls.append(args)
        return apply(settings, *args)

    monkeypatch.setattr(ConvFunction, "apply", record)
    return calls


OPTIONS = [
    {},
    {"padding": 0},
    {"padding": 2},
    {"padding": (0, 1)},
    {"bias": False},
    {"into": 8, "out": 8},
    {"into": 64, "out": 48},
    {"into": 48, "out": 200},
    {"kernel": 5},
    {"kernel": (1, 3)},
    {"kernel": (5, 1)},
    {"kernel": (3, 5), "padding": 0},
]


@pytest.mark.parametrize("side", [7, 12, 30])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_outputs_and_gradients_agree_with_torch(functions, options, side):
    layer, x = make_conv(**options), maps(2, options.get("into", 16), side, side + 1)
    found = gradients(KernelOps().convolve, layer, x)
    assert len(functions) == 1
    for ours, theirs in zip(found, expected(layer, x), strict=True):
        assert ours.shape == theirs.shape
        assert distance(ours, theirs) < TOLERANCE


@pytest.mark.parametrize("cache_bytes", [1, 1 << 16])
def test_blocks_of_tiles(monkeypatch, cache_bytes):
    monkeypatch.setattr(buffers, "CACHE_BYTES", cache_bytes)
    layer, x = make_conv(), maps(2, 16, 13, 14)
    for ours, theirs in zip(gradients(KernelOps().convolve, layer, x), expected(layer, x), strict=True):
        assert distance(ours, theirs) < TOLERANCE


def test_gradients_have_the_format_of_the_parameters(functions):
    layer = make_conv()
    _, x_gradient, weight_gradient, _ = gradients(KernelOps().convolve, layer, maps(2, 16, 12, 12))
    assert functions
    assert weight_gradient.stride() == layer.weight.stride()
    assert x_gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_numbers_of_threads(threads):
    layer, x = make_conv(), maps(2, 16, 20, 20)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, again = gradients(KernelOps().convolve, layer, x), gradients(KernelOps().convolve, layer, x)
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, found, again))
    for ours, theirs in zip(found, expected(layer, x), strict=True):
        assert distance(ours, theirs) < TOLERANCE


def test_a_convolution_of_one_pixel_is_a_product_of_matrices(functions):
    layer, x = make_conv(kernel=1), maps(2, 16, 9, 8)
    found = gradients(KernelOps().convolve, layer, x)
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    assert found[2].stride() == layer.weight.stride()
    assert not functions
    for ours, theirs in zip(found, expected(layer, x), strict=True):
        assert distance(ours, theirs) < 5e-6


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"dilation": 2},
        {"groups": 2},
        {"padding": "same"},
        {"padding_mode": "reflect"},
        {"padding": 3},
        {"kernel": 7},
        {"into": 12},
        {"out": 12},
    ],
    ids=str,
)
def test_other_convolutions_run_by_torch(functions, options):
    layer = make_conv(**options)
    x = maps(2, layer.in_channels, 12, 12)
    assert torch.equal(KernelOps().convolve(layer, x), layer(x))
    assert not functions


def test_small_convolutions_run_by_torch(functions, monkeypatch):
    monkeypatch.undo()
    layer, x = make_conv(), maps(2, 16, 12, 12)
    assert torch.equal(KernelOps().convolve(layer, x), layer(x))
    assert not functions


def hooked(layer: nn.Conv2d) -> nn.Conv2d:
    layer.register_forward_hook(lambda *_: None)
    return layer


def patched(layer: nn.Conv2d) -> nn.Conv2d:
    """A convolution that doubles its output by a method of this instance alone."""
    convolve = layer._conv_forward
    layer._conv_forward = lambda *operands: 2 * convolve(*operands)
    return layer


@pytest.mark.parametrize(
    ("change", "x"),
    [
        (lambda layer: layer.eval(), maps(2, 16, 12, 12)),
        (hooked, maps(2, 16, 12, 12)),
        (patched, maps(2, 16, 12, 12)),
        (lambda layer: layer.to(memory_format=torch.contiguous_format), maps(2, 16, 12, 12)),
        (lambda layer: layer, maps(2, 16, 12, 12).contiguous()),
        (lambda layer: layer.double(), maps(2, 16, 12, 12).double()),
    ],
    ids=["eval", "hook", "method", "contiguous weight", "contiguous maps", "double"],
)
def test_torch_computes(functions, change, x):
    layer = change(make_conv())
    assert torch.equal(KernelOps().convolve(layer, x), layer(x))
    assert not functions


def test_maps_of_other_channels_get_torchs_error(functions):
    with pytest.raises(RuntimeError, match="to have 16 channels, but got 8 channels"):
        KernelOps().convolve(make_conv(), maps(2, 8, 12, 12))
    assert not functions


def test_torch_computes_under_autocast(functions):
    with torch.autocast("cpu", torch.bfloat16):
        assert KernelOps().convolve(make_conv(), maps(2, 16, 12, 12)).dtype == torch.bfloat16
    assert not functions


def test_torch_computes_under_vmap_and_without_onednn(functions, monkeypatch):
    layer, x = make_conv(), maps(3, 2, 16, 12 * 12).view(3, 2, 16, 12, 12)
    run = vmap(lambda x: KernelOps().convolve(layer, x), randomness="error")
    assert distance(run(x).detach(), torch.stack([layer(each) for each in x]).detach()) < 1e-5
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        KernelOps().convolve(layer, maps(2, 16, 12, 12))
    assert not functions


def test_second_derivatives(functions):
    """The gradient of a gradient's norm, as a gradient penalty needs it."""
    layer, x = make_conv(), maps(2, 16, 12, 12)
    theirs = second_gradients(lambda layer, x: layer(x), copy.deepcopy(layer).double(), x.double())
    for ours, other in zip(second_gradients(KernelOps().convolve, layer, x), theirs, strict=True):
        assert distance(ours, other) < 1e-4
    assert functions


def test_only_needed_gradients_are_computed(functions):
    layer, x = make_conv(), maps(2, 16, 12, 12)
    layer.weight.requires_grad_(False)
    y = KernelOps().convolve(layer, x)
    y.sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert functions


@pytest.mark.parametrize("name", ["googlenet", "vgg11"])
def test_models_train_by_kernels(functions, name):
    """The gradients differ from those in float64 less than those of images with noise: rounding too switches a few ReLUs."""
    model = fill(iz.create_model(name, num_classes=3)).to(memory_format=torch.channels_last).train()
    x, targets = maps(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])
    state = copy.deepcopy(model.state_dict())

    def step(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
        model.load_state_dict(state)
        model.zero_grad()
        torch.manual_seed(0)  # of dropout
        nn.functional.cross_entropy(model(x), targets).backward()
        return {key: parameter.grad.double() for key, parameter in model.named_parameters()}

    def errors(found: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.stack([(found[key] - exact[key]).norm() / exact[key].norm() for key in exact])

    double = copy.deepcopy(model).double()
    exact = step(double, x.double())
    noisy = errors(step(double, x.double() * (1 + 3e-5 * torch.randn(x.shape, dtype=torch.float64))))
    assert not functions
    ours = step(iz.train.use_kernels(model), x)
    assert len(functions) > 5
    assert errors(ours).median() < noisy.median()
    assert errors(ours).max() < 0.2
    assert all(map(torch.equal, ours.values(), step(model, x).values()))
    count = len(functions)
    step(iz.train.use_kernels(model, False), x)
    assert len(functions) == count


def test_kernels_and_functional_calls(functions):
    model = iz.train.use_kernels(iz.create_model("vgg11", num_classes=2).to(memory_format=torch.channels_last).train())
    values = {key: value.clone() for key, value in model.named_parameters()}  # not parameters: torch computes
    functional_call(model, values, maps(1, 3, 32, 32))
    assert not functions


def test_use_kernels_refuses_other_values():
    with pytest.raises(iz.ArgumentError, match="enable"):
        iz.train.use_kernels(iz.create_model("vgg11", num_classes=2), 1)
