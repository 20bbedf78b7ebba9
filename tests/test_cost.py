"""Shapes, parameters and multiply-adds read off the value equal what the built modules do on real tensors."""

import itertools
import math

import pytest
import torch
from helpers import measure, noise, outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import inceptionzoo as iz
from inceptionzoo import Aux, Conv, Head, Norm, Op, Pool, Residual, Shape, Style, build, chain, concat, network
from inceptionzoo.cost import cost, min_input_size, network_cost, width

SIZES = ((1, 1), (2, 3), (5, 5), (7, 10), (12, 9), (16, 16))
PADDINGS, KERNELS = ("half", "same", "valid"), (1, 2, 3, (1, 7), (7, 1), 5)
CONVS = [
    Conv(6, k, s, p)
    for k, s, p in itertools.product(KERNELS, (1, 2), PADDINGS)
    if not (p == "same" and s == 2 and k in ((1, 7), (7, 1)))
]
POOLS = [
    Pool(kind, k, s, p, ceil=c)
    for kind, k, s, p, c in itertools.product(("max", "avg"), (2, 3), (1, 2, 3), ("half", "valid"), (False, True))
]
LAYERS = [
    *CONVS,
    *POOLS,
    *(Pool("max", k, s, "same", ceil=c) for k, s, c in itertools.product((2, 3), (1, 2), (False, True))),
    Pool("avg", (1, 3), 1, "same"),
    Pool("adaptive_avg", 4),
    Pool("adaptive_avg", (2, 3)),
    Conv(8, 3, groups=4),
    Conv(4, (3, 1), 2, groups=2, bias=True, norm=False),
    Conv(4, 3, bias=False, act=False),
    Norm(),
    Norm("lrn"),
    chain(Conv(6, (1, 7)), Conv(5, (7, 1)), Pool("max", 3, 2, "valid", ceil=True)),
    concat(a=Conv(3), b=chain(Conv(2), Conv(5, 3)), c=chain(Pool("max"), Conv(4)), d=Norm()),
    concat(a=Conv(3, 3, 2, "valid"), b=Pool("max", 3, 2, "valid")),
    Residual(concat(a=Conv(3), b=Conv(2, 3)), scale=0.2),
    Residual(chain(Conv(3), Conv(4, 3, act=False)), project=False),
    Residual(Conv(6, 3, 2, "same"), shortcut=Conv(5, 1, 2, "same")),
    Residual(Conv(6, 3, 2), project=False, shortcut=Conv(6, 1, 2), act=False),
    Op(lambda c: nn.Conv2d(c, 6, 3, 2, 1), 6, stride=2, cost=(4 * 6 * 9 + 6, 4 * 6 * 9)),
    chain(Op(lambda c: nn.Conv2d(c, c, 3, padding=1, groups=c), 4), Conv(2)),
]  # fmt: skip
STYLES = (None, Style(None, bias=True), Style(bias=True), Style(None))
CHANNELS = 4
# smallest sides: found by the modules themselves below
SMALL = {
    "valid": network(a=Conv(4, 7, 2, "valid"), b=Pool("max", 3, 2, "valid")),
    "ceil": network(a=Conv(4, 3, 2, "valid"), b=Pool("max", 3, 2, "valid", ceil=True), c=Pool("max", 2, 2, "valid", ceil=True)),
    "half": network(a=Conv(4, 7, 2), b=Pool("max", 3, 2), c=Conv(4, 3)),
    "same": network(a=Conv(4, 3, 2, "same"), b=Pool("max", 3, 2, "same")),
    "even": network(a=Conv(4, 4, 2), b=Pool("avg", 2, 2, "half", ceil=True)),
    "branches": network(a=Pool("max", 2, 2, "valid"), b=concat(x=Conv(4, 5, 1, "valid"), y=chain(Conv(4, 3, 1, "valid"), Conv(4, 3, 1, "valid")))),
    "long": network(a=chain(*[Conv(4, 3, 2, "valid")] * 5)),
    "wide": network(a=Conv(4, (1, 7), 1, "valid"), b=Conv(4, (2, 1), 2, "valid")),
    "aux": network(a=Conv(4, 3), aux=(Aux("a", Pool("avg", 5, 3, "valid"), Head()),)),
    "conv head": network(a=Conv(4, 3, 2), head=Head("conv", (8,), 7)),
}  # fmt: skip
MODELS = (
    *(("googlenet", {}), ("googlenet_5x5", {}), ("googlenet_paper", {}), ("googlenet_paper", {"pools": "valid"})),
    *(("googlenet_cifar", {}), ("vgg11", {"head": "pool"}), ("vgg13_bn_cifar", {})),
)
HEADS = (Head(), Head("mlp", (8, 6), 3), Head("conv", (8, 6), 3), Head("conv", (8,), 20))


def check(layer, shape: Shape, style: Style | None = None) -> None:
    """Compare the value's account with the module's; what the value refuses, the module cannot do either."""
    options = {} if style is None else {"norm": style.norm, "bias": style.bias}
    x = noise(1, *shape)
    try:
        told = cost(layer, shape, style)
    except (iz.InputError, iz.SpecError):
        with torch.no_grad(), pytest.raises((RuntimeError, iz.SpecError)):
            build(layer, shape.channels, **options).eval()(x)
        return
    module = build(layer, shape.channels, **options).eval()
    seen = outputs({"all": module}, lambda: module(x))["all"]
    assert told.shape == seen.shape[1:]
    assert width(layer, shape.channels) == seen.shape[1]
    if told.complete:
        assert (told.params, told.macs) == measure(module, lambda: module(x))
        if "Op" not in repr(layer):
            assert told.weights == sum(w.numel() for w in module.parameters() if w.ndim == 4)
    norms = {name: part for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)}
    positions = [math.prod(y.shape[2:]) for y in outputs(norms, lambda: module(x)).values()]
    assert told.normed == min(positions, default=None)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_layers(layer):
    for (height, side), style in itertools.product(SIZES, STYLES):
        check(layer, Shape(CHANNELS, height, side), style)


sides = st.integers(1, 3)
sizes = st.integers(1, 12)
kernels = sides | st.tuples(sides, sides)
keeping = st.builds(Conv, sizes, st.sampled_from((1, 3, (1, 3), (5, 1))), bias=st.booleans(), norm=st.booleans()) | st.builds(
    Conv, sizes, kernels, padding=st.just("same")
)
leaves = (
    st.builds(Conv, sizes, kernels, st.integers(1, 2), st.sampled_from(("half", "valid")), bias=st.sampled_from((None, True)))
    | st.builds(lambda out, groups: Conv(out * groups, groups=groups), sizes, st.integers(1, 2))
    | st.builds(Pool, st.sampled_from(("max", "avg")), kernels, sides, st.sampled_from(("half", "valid")), ceil=st.booleans())
    | st.builds(Residual, keeping, shortcut=st.none() | keeping)
    | st.just(Norm())
    | keeping
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3).map(lambda layers: chain(*layers))
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=2).map(lambda branches: concat(**branches))
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(trees, st.builds(Shape, st.integers(1, 6), sizes, sizes))
def test_random_trees(layer, shape):
    check(layer, shape)


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("aux", [False, True])
def test_whole_networks(head, aux):
    table = network(
        a=Conv(4, 3, 2), b=concat(x=Conv(3), y=Conv(2, 3)), head=head, aux=(Aux("a", Conv(5), Head("mlp", (7,), 2)),)
    )
    model = iz.with_aux(build(table)) if aux else build(table)
    for size in ((9, 9), (24, 17)):
        told = network_cost(table, Shape(3, *size), 1000, aux=aux)
        x = noise(1, 3, *size)
        assert told.shape == (1000, 1, 1)
        assert (told.params, told.macs) == measure(model.eval(), lambda x=x: model.forward_aux(x) if aux else model(x))
        assert told.depth == 2 + len(head.hidden) + 1


def test_depth_is_that_of_the_longest_path():
    layer = chain(Conv(4), Residual(concat(a=Conv(4), b=chain(Conv(4), Norm(), Conv(4, 3))), shortcut=Conv(9)))
    assert cost(layer, Shape(3, 8, 8)).depth == 1 + 2 + 1
    assert not cost(chain(Conv(4), Op(nn.Identity, 4)), Shape(3, 8, 8)).complete


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, (2, 3), (1, 7)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_is_tensorflows(kernel, stride):
    tall, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    if kernel != 1 and min(tall, wide) < stride:
        with pytest.raises(iz.SpecError, match="at least the stride"):
            Conv(1, kernel, stride, "same")
        return
    for height, side in ((7, 8), (8, 9), (5, 5), (6, 3)):
        x = torch.randint(-9, 0, (1, 1, height, side)).double()  # below zero: a zero that a max pool saw would win
        conv = build(Conv(1, kernel, stride, "same", norm=False, act=False), 1).double()
        torch.nn.init.uniform_(conv.conv.weight)
        conv.conv.weight.data.mul_(9).round_()
        expected = brute(x[0, 0], conv.conv.weight[0, 0], stride)
        assert conv(x)[0, 0].equal(expected)
        window = torch.zeros(tall, wide)
        assert build(Pool("max", kernel, stride, "same"), 1)(x)[0, 0].equal(brute(x[0, 0], window, stride, most=True))


def brute(x, weight, stride, *, most=False):
    """Return TensorFlow's "SAME" by its definition: ceil(n / stride) windows; an odd pixel of padding at the far side."""
    counts = [math.ceil(n / stride) for n in x.shape]
    before = [max((c - 1) * stride + k - n, 0) // 2 for c, k, n in zip(counts, weight.shape, x.shape, strict=True)]
    result = torch.zeros(counts, dtype=x.dtype)
    for i, j in itertools.product(*map(range, counts)):
        seen = []
        for a, b in itertools.product(*map(range, weight.shape)):
            row, column = i * stride + a - before[0], j * stride + b - before[1]
            if 0 <= row < x.shape[0] and 0 <= column < x.shape[1]:
                seen.append(x[row, column] + weight[a, b] if most else x[row, column] * weight[a, b])
        result[i, j] = max(seen) if most else sum(seen)
    return result


@pytest.mark.parametrize("include", [True, False])
def test_same_average(include):
    x = noise(1, 2, 5, 6)
    ones = nn.functional.pad(torch.ones_like(x), (1, 1, 1, 1))
    sums, counts = (9 * nn.functional.avg_pool2d(y, 3, 1) for y in (nn.functional.pad(x, (1, 1, 1, 1)), ones))
    torch.testing.assert_close(build(Pool("avg", 3, 1, "same", include_pad=include), 2)(x), sums / (9 if include else counts))


def smallest(model: iz.Net) -> int:
    """Return the smallest side that torch itself runs, without the model's own check."""

    def runs(side: int) -> bool:
        x = torch.zeros(1, 3, side, side)
        try:
            for name, stage in model.features.named_children():
                x = stage(x)
                if name in model.aux:
                    model.aux[name](x)
            model.head(x)
        except RuntimeError:
            return False
        return True

    with torch.no_grad():
        return next(side for side in range(1, 400) if runs(side))


@pytest.mark.parametrize("name", SMALL)
def test_smallest_input(name):
    table = SMALL[name]
    model = build(table).eval()
    assert min_input_size(table) == model.min_input_size == smallest(model)
    if table.aux:
        model = iz.with_aux(model)
        assert min_input_size(table, aux=True) == model.min_input_size == smallest(model) > min_input_size(table)


@pytest.mark.parametrize(("name", "own"), MODELS, ids=str)
def test_smallest_input_of_models(name, own):
    model = iz.create_model(name, num_classes=2, **own).eval()
    assert model.min_input_size == smallest(model)
    if model.network.aux:
        model = iz.with_aux(model)
        assert model.min_input_size == smallest(model)


def test_nothing_fits():
    with pytest.raises(iz.SpecError, match="not even an image of 4096 pixels fits"):
        build(network(a=chain(*[Conv(1, 3, 3, "valid")] * 8)))


def test_refuses_branches_of_different_sizes():
    layer = concat(left=Conv(4, 3), right=Pool("max", 3, 2))
    with pytest.raises(iz.SpecError, match=r"one size \(have left: 8x6x4, right: 4x3x3\)"):
        cost(layer, Shape(3, 8, 6))
    with pytest.raises(iz.SpecError, match="left: 4096x4096x4, right: 2048x2048x3"):
        build(network(a=layer))
    with pytest.raises(iz.SpecError, match="the body gives 4x4x3, the shortcut 8x8x3"):
        cost(Residual(Conv(2, 3, 2)), Shape(3, 8, 8))
    with pytest.raises(iz.SpecError, match="groups must divide the input's 3 channels"):
        cost(Conv(4, groups=2), Shape(3, 8, 8))
