"""A fused model gives the unfused outputs for every memory layout, and keeps images that are not finite apart."""

import pytest
import torch
from convolutions import WINOGRAD
from helpers import distance, fill, noise
from torch import nn

import inceptionzoo as iz
from inceptionzoo.inference import _autotune as autotune
from inceptionzoo.inference._executor import FusedStages
from inceptionzoo.inference._modules import ConvAct

NETWORK = iz.network(
    stem=iz.Conv(8, 3),
    pool=iz.Pool("max", 3, 2),
    block=iz.inception(8, 8, 16, 4, 8, 8),
    average=iz.concat(a=iz.chain(iz.Pool("avg", 3), iz.Conv(8)), b=iz.Conv(8), c=iz.Pool("max", 3)),
)


class Reshaped(nn.Module):
    """A module whose output's shape and layout can be changed after it has been built."""

    side: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous() if self.side is None else x[..., : self.side]


@pytest.fixture(autouse=True)
def _generated_kernels(monkeypatch):
    """Winograd's method and the generated pools run wherever they are supported."""
    preferred = "winograd_4", "im2col", "kernel", "onednn", "torch"
    monkeypatch.setattr(autotune, "_FASTEST", {})
    monkeypatch.setattr(autotune, "_fastest", lambda candidates, x: next(name for name in preferred if name in candidates))


def models(network: iz.Network = NETWORK, in_chans: int = 3) -> tuple[iz.Net, iz.Net]:
    """Return a model without head, and its fused form."""
    model = iz.build(network, in_chans)
    model.reset_classifier(0, "")
    fill(model, noise(4, in_chans, 12, 12))
    return model, iz.fuse(model)


def programs(fast: iz.Net) -> list[object]:
    assert isinstance(fast.features, FusedStages)
    return list(fast.features._programs.values())


LAYOUTS = {
    "grey": lambda: noise(5, 1, 12, 10).expand(5, 3, 12, 10),
    "one image": lambda: noise(1, 3, 12, 10).expand(5, 3, 12, 10),
    "one pixel": lambda: noise(5, 3, 1, 1).expand(5, 3, 12, 10),
    "one value": lambda: noise(1).expand(5, 3, 12, 10),
    "overlapping": lambda: noise(100).as_strided((5, 3, 12, 10), (7, 3, 2, 1)),
    "transposed": lambda: noise(5, 3, 10, 12).transpose(2, 3),
    "every second pixel": lambda: noise(5, 3, 24, 20)[:, :, ::2, ::2],
    "cropped": lambda: noise(5, 3, 20, 20).to(memory_format=torch.channels_last)[..., 3:15, 4:14],
    "offset": lambda: noise(7, 3, 12, 10).to(memory_format=torch.channels_last)[2:],
    "batch second": lambda: noise(3, 5, 12, 10).transpose(0, 1),
    "flipped": lambda: noise(5, 3, 12, 10).flip(3),
    "negated": lambda: torch.complex(noise(5, 3, 12, 10), noise(5, 3, 12, 10, seed=2)).conj().imag,
}


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout):
    model, fast = models()
    x = LAYOUTS[layout]()
    before = x.clone()
    expected = model.double()(x.double())
    first = fast(x)
    kept = first.clone()
    assert distance(first, expected) < WINOGRAD
    assert fast(x).equal(first)
    fast(noise(5, 3, 12, 10, seed=3)), fast(noise(5, 3, 12, 10, seed=4).to(memory_format=torch.channels_last))
    assert first.equal(kept)
    assert x.equal(before)
    for ours, theirs in zip(fast.forward_intermediates(x)[1], model.forward_intermediates(x.double())[1], strict=True):
        assert distance(ours, theirs) < WINOGRAD


@torch.no_grad()
def test_layouts_share_programs():
    """All inputs of a size run by two programs at most, of contiguous and of channels_last memory."""
    model, fast = models()
    for make in LAYOUTS.values():
        assert distance(fast(make()), model(make())) < WINOGRAD
    fast(noise(5, 3, 12, 10))
    assert len(programs(fast)) == 2
    assert all(programs(fast))


@torch.no_grad()
@pytest.mark.parametrize("sides", [(8, 3, 1, 1), (1, 3, 1, 9), (1, 3, 9, 1), (3, 1, 1, 7), (1, 1, 1, 1), (3, 1, 7, 5)])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_maps_one_pixel_wide(sides, format):
    block = iz.concat(a=iz.Conv(8, act=False), b=iz.chain(iz.Conv(8), iz.Conv(8, (1, 3))), c=iz.Pool("max", 3))
    own = iz.Op(lambda channels: Reshaped(), 8)  # contiguous memory between two kernels
    model, fast = models(iz.network(stem=iz.Conv(8, 3), block=block, narrow=iz.Conv(8), own=own, last=iz.Conv(12)), sides[1])
    x = noise(*sides).contiguous(memory_format=format)
    for values in (
        x,
        x.as_strided(sides, [5 if side == 1 else stride for side, stride in zip(sides, x.stride(), strict=True)]),
    ):
        assert distance(fast(values), model(values)) < WINOGRAD
    assert all(programs(fast))


@torch.no_grad()
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_an_image_that_is_not_finite(value, format):
    """It has nan and inf where torch does, in the last map and in each stage's. The other images' outputs do not change."""
    model, fast = models()
    x = noise(4, 3, 20, 20).contiguous(memory_format=format)
    clean = fast(x)
    x[1, 2, 4, 5] = float(value)
    y, expected = fast(x), model(x)
    assert y[[0, 2, 3]].equal(clean[[0, 2, 3]])
    assert 0 < y[1].isnan().sum() + y[1].isinf().sum() < y[1].numel()
    maps = [y, *fast.forward_intermediates(x)[1]], [expected, *model.forward_intermediates(x)[1]]
    for ours, theirs in zip(*maps, strict=True):
        assert ours.isnan().equal(theirs.isnan())
        assert ours.isinf().equal(theirs.isinf())
    assert all(programs(fast))


@torch.no_grad()
def test_a_large_sum_is_not_an_infinite_value():
    model, fast = models(iz.network(stem=iz.Conv(8, 3, norm=False)))
    x = noise(2, 3, 12, 12).abs() * 1e37
    assert distance(fast(x), model(x)) < WINOGRAD


@torch.no_grad()
def test_a_module_that_changes_its_output():
    """The program is recorded again when the map of a module of the user's own has another shape or layout."""
    own = iz.Op(lambda channels: Reshaped(), 8)
    model, fast = models(iz.network(stem=iz.Conv(8, 3), own=own, last=iz.Conv(8, 3)))
    x = noise(2, 3, 12, 12)
    for side in (None, 9, 1, None):
        model.features.own.side = fast.features.own.side = side
        for _ in range(3):
            assert distance(fast(x), model(x)) < WINOGRAD
        assert all(programs(fast))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_module_that_returns_another_data_type(dtype):
    class Cast(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.to(dtype)

    class Back(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.float()

    cast, back = (iz.Op(lambda channels, kind=kind: kind(), 8) for kind in (Cast, Back))
    block = iz.concat(a=iz.chain(iz.Conv(8), cast, iz.Pool("max", 3), back), b=iz.Conv(8))
    model, fast = models(iz.network(stem=iz.Conv(8, 3), block=block, last=iz.Conv(8, 3)))
    x = noise(2, 3, 12, 12)
    assert distance(fast(x), model(x)) < WINOGRAD
    model, fast = models(iz.network(stem=iz.Conv(8, 3), cast=cast))
    assert fast(x).dtype == dtype


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_default_data_type(dtype):
    model, fast = models()
    x = noise(2, 3, 12, 12)
    torch.set_default_dtype(dtype)
    try:
        y = fast(x)
    finally:
        torch.set_default_dtype(torch.float32)
    assert y.dtype == torch.float32
    assert distance(y, model(x)) < WINOGRAD
    assert all(programs(fast))


@torch.no_grad()
def test_another_default_device():
    model, fast = models()
    x = noise(2, 3, 12, 12)
    with torch.device("meta"):
        y = fast(x)
    assert distance(y, model(x)) < WINOGRAD
    assert all(programs(fast))


@torch.no_grad()
def test_a_bias_that_is_not_contiguous():
    _, fast = models()
    for part in fast.modules():
        if isinstance(part, ConvAct):
            part.conv.bias.data = part.conv.bias.data[:1].expand(len(part.conv.bias))
    x = noise(2, 3, 12, 12)
    assert distance(fast(x), iz.inference.tuned(fast, False)(x)) < WINOGRAD


@pytest.mark.parametrize("built_inside", [True, False])
def test_fuse_in_inference_mode(built_inside):
    with torch.inference_mode(built_inside):
        model, _ = models()
    with torch.inference_mode():
        fast = iz.fuse(model)
        x = noise(2, 3, 12, 12)
        first = fast(x)
        assert distance(first, model(x)) < WINOGRAD
    assert all(programs(fast))
    assert len(programs(fast)) == 1
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in fast.parameters())
    with torch.no_grad():
        fast.features.stem.conv.weight.mul_(2)
        assert distance(fast(x), first) > 0.01


def test_a_fused_model_loaded_in_inference_mode_says_that_it_is_slow(register, tmp_path):
    register("own", NETWORK, num_classes=2, input_size=(3, 12, 12))
    iz.save_weights(iz.fuse(iz.create_model("own").eval()), tmp_path / "fast.safetensors")
    with torch.inference_mode():
        fast, x = iz.load_model(tmp_path / "fast.safetensors"), noise(2, 3, 12, 12)
        with pytest.warns(UserWarning, match=r"slower: its weights were loaded or copied in torch.inference_mode\(\)"):
            first = fast(x)
        assert fast(x).equal(first)  # it says so once
