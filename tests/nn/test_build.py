"""Building modules: arguments, initial weights, blocks compared with hand-written ones, and padding."""

import dataclasses
import math
from functools import partial
from itertools import product

import pytest
import torch
from helpers import Block, fill, noise, one_thread
from torch import nn

import inceptionzoo as iz
from inceptionzoo import Aux, Conv, Head, Op, Pool, Residual, build, chain, network
from inceptionzoo.nn import build_network

ROW = iz.inception(64, 96, 128, 16, 32, 32)
ALIKE = (8, 8, 8, 8, 8, 8)  # equal widths, so that swapped branches are not noticed by their shapes
FIVES = (5, 3, (3, 3))
# arguments of build; then the epsilon of batch normalisation, or None without it, and whether convolutions have a bias
STYLES = (
    ({}, 1e-3, False),
    ({"eps": 1e-5}, 1e-5, False),
    ({"bias": True}, 1e-3, True),
    ({"norm": None}, None, False),
    ({"norm": None, "bias": True}, None, True),
    ({"norm": "batch", "eps": 0.1, "bias": True}, 0.1, True),
)
TABLES = (
    ROW,
    network(ROW=ROW, last=Conv(8, 3)),
    Residual(chain(Conv(4), ROW), project=False, shortcut=Conv(256, (1, 3))),
)
MLP = network(conv=Conv(64, 3), head=Head("mlp", (512, 256), 3), aux=(Aux("conv", Conv(32), Head("mlp", (512,), 4)),))
SLID = network(conv=Conv(64, 3), head=Head("conv", (512, 256), 3))
DRAWN = {
    "googlenet": partial(iz.create_model, "googlenet"),
    "googlenet_paper": partial(iz.create_model, "googlenet_paper"),
    "mlp": lambda: iz.with_aux(build(MLP)),
    "conv": partial(build, SLID),
}


def kinds(module: nn.Module, kind: type) -> list:
    return [part for part in module.modules() if isinstance(part, kind)]


def test_a_block_in_a_users_model():
    block = build(ROW, in_channels=192)
    model = nn.Sequential(nn.Conv2d(3, 192, 3), block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))
    assert block(noise(2, 192, 14, 9)).shape == (2, 256, 14, 9)
    model(noise(2, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("options", "eps", "bias"), STYLES, ids=str)
@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(table).__name__)
def test_style_reaches_every_convolution(table, options, eps, bias):
    model = build(table, 192, **options)
    convs, norms = kinds(model, nn.Conv2d), kinds(model, nn.BatchNorm2d)
    assert len(convs) >= 6
    assert [conv.bias is not None for conv in convs] == [bias] * len(convs)
    assert [norm.eps for norm in norms] == ([] if eps is None else [eps] * len(convs))


def test_a_convolution_overrides_the_style():
    conv = build(Conv(4, bias=True, norm=False, act=False), 3)
    assert conv.conv.bias is not None
    assert not kinds(conv, nn.BatchNorm2d) + kinds(conv, nn.ReLU)
    assert build(Conv(4, bias=False), 3, bias=True).conv.bias is None


def test_invalid_arguments_are_refused():
    for spec, channels, options, text in (
        (Op(lambda _: None, 8), 3, {}, "Op: make='<lambda>', called with 3, must return a module, not None"),
        (Op(lambda channels: channels, 8), 5, {}, "called with 5, must return a module, not 5"),
        (Op(lambda: nn.ReLU(), 8), 5, {}, "called with 5, must return a module: .* takes 0 positional arguments"),
        (Op(nn.Conv2d, 8), 5, {}, "make='Conv2d', called with 5, must return a module: .* missing 2 required"),
        (Conv(8, groups=4), 6, {}, "groups must divide the input's 6 channels"),
        (Residual(Conv(8), project=False), 3, {}, "the body gives 8 channels and the shortcut 3; set project=True"),
        (ROW, 0, {}, "in_channels=0 must be an int from 1 to 2147483647"),
        ("googlenet", 3, {}, "spec='googlenet' must be a layer or a network"),
        (ROW, 3, {"norm": "instance"}, "norm='instance' must be one of 'batch', 'group', 'layer', None"),
        (ROW, 3, {"epsilon": 1e-5}, "unknown keyword 'epsilon' for build; did you mean 'eps'"),
        (ROW, 3, {"eps": 0}, "eps=0 must be above 0"),
    ):
        with pytest.raises((iz.SpecError, iz.ArgumentError), match=text):
            build(spec, channels, **options)


@pytest.mark.parametrize("name", DRAWN)
def test_distribution_of_initial_weights(name):
    torch.manual_seed(0)
    model = DRAWN[name]()
    last = [model.head.fc, *(head.head.fc for head in model.aux.values())]
    for part in kinds(model, nn.Conv2d | nn.Linear):
        weight, std = part.weight.detach(), 0.01 if part in last else math.sqrt(2 / part.weight[0].numel())
        count = weight.numel()
        assert abs(float(weight.std()) / std - 1) < 5 / math.sqrt(2 * count)
        assert abs(float(weight.mean())) < 5 * std / math.sqrt(count)
        assert weight.abs().max() > 2.5 * std  # normal, not uniform
        assert part.bias is None or not part.bias.any()
    for norm in kinds(model, nn.BatchNorm2d):
        assert norm.weight.eq(1).all()
        assert not norm.bias.any()


def test_the_seed_determines_the_weights():
    one, same, other = (torch.manual_seed(seed) and build(MLP).state_dict() for seed in (3, 3, 4))
    assert len(one) == 12
    for key, value in one.items():
        assert value.equal(same[key]), key
        assert value.equal(other[key]) == (not key.endswith("weight") or ".bn." in key), key


@pytest.mark.parametrize("five", FIVES, ids=str)
@one_thread()
def test_block_equals_one_written_by_hand(five):
    hand = Block(12, ALIKE, five if isinstance(five, tuple) else (five,), bias=False, eps=1e-3)
    ours, hand = build(iz.inception(*ALIKE, five=five), 12), fill(hand, noise(4, 12, 16, 16))
    assert ours.load_state_dict(dict(zip(ours.state_dict(), hand.state_dict().values(), strict=True)))
    x = noise(2, 12, 9, 14)
    with torch.no_grad():
        expected = hand(x)
        assert ours.eval()(x).equal(expected)
        assert not expected.eq(0).flatten(2).all(2).any()  # every channel has values, so each is compared
        parts = expected.split(8, 1)
        assert all(not a.equal(b) for i, a in enumerate(parts) for b in parts[:i])


@pytest.mark.parametrize("act", [True, False])
@pytest.mark.parametrize(("shortcut", "out"), [(None, 5), (Conv(6, 3, 2), 6)], ids=["plain", "projected"])
def test_residual_block_equals_its_formula(shortcut, out, act):
    stride = 1 if shortcut is None else 2
    module = fill(build(Residual(Conv(4, 3, stride), scale=0.3, shortcut=shortcut, act=act), 5))
    x = noise(2, 5, 8, 7)
    with torch.no_grad():
        added = nn.functional.conv2d(module.body(x), module.project.conv.weight, module.project.conv.bias)
        expected = (x if shortcut is None else module.shortcut(x)) + 0.3 * added
        assert expected.min() < 0
        assert module(x).shape[1] == out
        torch.testing.assert_close(module(x), expected.relu() if act else expected)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, (1, 7), (7, 1), (3, 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_half_padding_is_centred(kernel, stride):
    conv = build(Conv(2, kernel, stride, norm=False, act=False), 2)
    nn.init.dirac_(conv.conv.weight)  # each window gives its middle pixel
    x = noise(1, 2, 9, 12)
    assert conv(x).equal(x[:, :, ::stride, ::stride])


def tensorflow(x, weight, stride, *, most=False):
    """Return the output of "SAME" by its definition: ceil(n / stride) windows, an odd pixel at the bottom or right."""
    counts = [math.ceil(n / stride) for n in x.shape]
    before = [max((c - 1) * stride + k - n, 0) // 2 for c, k, n in zip(counts, weight.shape, x.shape, strict=True)]
    result = torch.zeros(counts, dtype=x.dtype)
    for i, j in product(*map(range, counts)):
        cells = zip(product(*map(range, weight.shape)), weight.flatten(), strict=True)
        places = ((i * stride + a - before[0], j * stride + b - before[1], w) for (a, b), w in cells)
        seen = [x[r, c] if most else x[r, c] * w for r, c, w in places if 0 <= r < len(x) and 0 <= c < len(x[0])]
        result[i, j] = max(seen) if most else sum(seen)
    return result


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (2, 3), (1, 7)], ids=str)
def test_same_padding_equals_its_definition(kernel):
    for stride, size in product(range(1, 1 + (3 if kernel == (1, 1) else min(kernel))), ((7, 8), (8, 9), (5, 5), (6, 3))):
        x = torch.randint(-9, 0, (1, 1, *size)).double()  # all negative, so that a max pool would return a zero of the padding
        weight = torch.randint(1, 9, (1, 1, *kernel)).double()
        conv = build(Conv(1, kernel, stride, "same", norm=False, act=False), 1).double()
        conv.conv.weight.data.copy_(weight)
        assert conv(x)[0, 0].equal(tensorflow(x[0, 0], weight[0, 0], stride))
        pool = build(Pool("max", kernel, stride, "same"), 1)
        assert pool(x)[0, 0].equal(tensorflow(x[0, 0], weight[0, 0], stride, most=True))


@pytest.mark.parametrize("include", [True, False])
def test_same_average(include):
    x, pad = noise(1, 2, 5, 6), partial(nn.functional.pad, pad=(1, 1, 1, 1))
    sums, counts = (9 * nn.functional.avg_pool2d(pad(y), 3, 1) for y in (x, torch.ones_like(x)))
    pool = build(Pool("avg", 3, 1, "same", include_pad=include), 2)
    torch.testing.assert_close(pool(x), sums / (9 if include else counts))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, "half"), (3, 2, "valid"), (3, 3, "valid"), (2, 2, "valid"), (5, 3, "half")]
)
def test_padding_gives_the_output_of_the_ceil_mode(kernel, stride, padding):
    padded, plain = (iz.build(iz.Pool("max", kernel, stride, padding, ceil=ceil), in_channels=2) for ceil in ("pad", True))
    for height in range(3, 14):
        x = noise(1, 2, height, 16 - height + 3)
        assert padded(x).equal(plain(x))


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_the_normalisation_of_an_embedding_is_reset(norm):
    head = iz.Head("embed", hidden=(4,), norm=norm)
    model = build_network(iz.network(stem=iz.Conv(4, 3), head=head), num_classes=2)
    with torch.no_grad():
        model.head.hidden.bn1.weight.fill_(5), model.head.hidden.bn1.bias.fill_(5)
    model.head.reset_parameters()
    assert model.head.hidden.bn1.weight.tolist() == [1] * 4
    assert model.head.hidden.bn1.bias.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("style", "error", "text"),
    [
        ({"act": nn.SiLU()}, iz.ArgumentError, r"act=SiLU\(\) is one module, and each layer needs its own; pass its class"),
        ({"norm": nn.BatchNorm2d(4)}, iz.ArgumentError, r"norm=BatchNorm2d\(.*\) is one module"),
        ({"act": nn.functional.silu}, iz.SpecError, "act='silu', called with no argument, must return a module"),
        ({"norm": lambda channels: None}, iz.SpecError, "norm='<lambda>', called with 4, must return a module, not None"),
    ],
    ids=["a module as activation", "a module as normalisation", "a function of a tensor", "no module"],
)
def test_a_style_that_makes_no_modules(style, error, text):
    with pytest.raises(error, match=text):
        iz.build(iz.network(a=iz.Conv(4, 3)), **style)


@dataclasses.dataclass
class Scale:
    """What makes a module, and cannot be hashed."""

    factor: float

    def __call__(self, *_: int) -> nn.Module:
        return nn.Hardtanh(0, self.factor)


def test_what_makes_a_module_need_not_be_hashable():
    net = iz.network(a=iz.Conv(4, 3), b=iz.Op(Scale(2.0), 4), style=iz.Style(norm=None, act=Scale(1.0)))
    assert iz.build(net)(noise(1, 3, 8, 8)).shape == (1, 1000)


def test_an_auxiliary_head_on_a_stage_whose_name_torch_uses():
    net = iz.network(keys=iz.Conv(4, 3), b=iz.Conv(4, 3), aux=(iz.Aux("keys", iz.Conv(4), iz.Head()),))
    with pytest.raises(iz.SpecError, match="'keys' cannot name a stage or branch"):
        iz.with_aux(iz.build(net))


def test_average_pools_of_three_dimensions_round_down():
    with pytest.raises(iz.SpecError, match="average pools of three dimensions round down; use ceil=False"):
        iz.build(iz.network(a=iz.Pool("avg", 3, 2, ceil=True), spatial_dims=3))
