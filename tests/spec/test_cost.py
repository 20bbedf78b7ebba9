"""Shapes, parameters and multiply-adds of a specification equal those of its modules on real tensors."""

import math
import re
from contextlib import suppress
from functools import partial
from itertools import product

import pytest
import torch
from helpers import measure, noise, one_thread, outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import inceptionzoo as iz
from inceptionzoo import Act, Aux, Conv, Depthwise, Head, Norm, Op, Pool, Residual, Shape, Style, build, chain, concat, network
from inceptionzoo.models.googlenet import googlenet, googlenet_cifar
from inceptionzoo.models.vgg import vgg
from inceptionzoo.nn import build_network
from inceptionzoo.spec import make_network
from inceptionzoo.spec._cost import layer_cost, out_channels
from inceptionzoo.spec._network_cost import (
    feature_levels,
    has_exact_reductions,
    head_cost,
    min_feature_size,
    min_input_size,
    network_cost,
    stage_costs,
)
from inceptionzoo.zoo._registry import REGISTRY

SIZES, CHANNELS = ((1, 1), (2, 3), (5, 5), (7, 10), (12, 9), (16, 16)), 4
STYLES = (None, Style(None, bias=True), Style(bias=True), Style(None))
RISE, VALID = (False, True), partial(Conv, 4, padding="valid")
LAYERS = [
    *(Conv(6, *each) for each in product((1, 2, 3, (1, 7), (7, 1), 5), (1, 2), ("half", "valid"))),
    *(Conv(6, *each, "same") for each in (*product((1, 2, 3, 5), (1, 2)), ((1, 7), 1), ((7, 1), 1))),
    *(Pool(*each, ceil=c) for *each, c in product(("max", "avg"), (2, 3), (1, 2, 3), ("half", "valid"), RISE)),
    *(Pool("max", *each, "same", ceil=c) for *each, c in product((2, 3), (1, 2), RISE)),
    Pool("avg", (1, 3), 1, "same"),
    *(Pool("adaptive_avg", 4), Pool("adaptive_avg", (2, 3))),
    *(Conv(8, 3, groups=4), Conv(4, (3, 1), 2, groups=2, bias=True, norm=False), Conv(4, 3, bias=False, act=False)),
    *(Depthwise(*each, p, multiplier=m) for *each, p, m in product((3, (1, 3)), (1,), ("half", "same"), (1, 2))),
    *(chain(Act(), Depthwise(5, 2, p, bias=True), Conv(6)) for p in ("half", "same", "valid")),
    *(Norm(), Norm("lrn"), Act()),
    *(Conv(6, *each, p, dilation=2) for *each, p in product((3, 2), (1, 2), ("half", "same", "valid"))),
    *(Pool("max", *each, p, dilation=2) for *each, p in product((3, 2), (1,), ("same", "valid"))),
    chain(Conv(6, (1, 7)), Conv(5, (7, 1)), Pool("max", 3, 2, "valid", ceil=True)),
    concat(a=Conv(3), b=chain(Conv(2), Conv(5, 3)), c=chain(Pool("max"), Conv(4)), d=Norm()),
    concat(a=Conv(3, 3, 2, "valid"), b=Pool("max", 3, 2, "valid")),
    Residual(concat(a=Conv(3), b=Conv(2, 3)), scale=0.2),
    Residual(chain(Conv(3), Conv(4, 3, act=False)), project=False),
    Residual(Conv(6, 3, 2, "same"), shortcut=Conv(5, 1, 2, "same")),
    Residual(Conv(6, 3, 2), project=False, shortcut=Conv(6, 1, 2), act=False),
    Op(lambda c: nn.Conv2d(c, 6, 3, 2, 1), 6, stride=2, cost=(4 * 6 * 9 + 6, 4 * 6 * 9)),
    chain(Op(lambda c: nn.Conv2d(c, c, 3, padding=1, groups=c), 4), Conv(2)),
]
SMALL = {  # networks whose smallest image is found by trying every size
    "valid": network(a=VALID(7, 2), b=Pool("max", 3, 2, "valid")),
    "ceil": network(a=VALID(3, 2), b=Pool("max", 3, 2, "valid", ceil=True), c=Pool("max", 2, 2, "valid", ceil=True)),
    "half": network(a=Conv(4, 7, 2), b=Pool("max", 3, 2), c=Conv(4, 3)),
    "same": network(a=Conv(4, 3, 2, "same"), b=Pool("max", 3, 2, "same")),
    "even": network(a=Conv(4, 4, 2), b=Pool("avg", 2, 2, "half", ceil=True)),
    "branches": network(a=Pool("max", 2, 2, "valid"), b=concat(x=VALID(5), y=chain(VALID(3), VALID(3)))),
    "long": network(a=chain(*[VALID(3, 2)] * 5)),
    "wide": network(a=VALID((1, 7)), b=VALID((2, 1), 2)),
    "aux": network(a=Conv(4, 3), aux=(Aux("a", Pool("avg", 5, 3, "valid"), Head()),)),
    "conv head": network(a=Conv(4, 3, 2), head=Head("conv", (8,), 7)),
    "googlenet": googlenet(),
    "googlenet valid": googlenet(pools="valid"),
    "googlenet 2014": googlenet(five=5, pool4=3, norm="lrn", aux_pool="5x5"),
    "googlenet 2014 valid": googlenet(five=5, pool4=3, norm="lrn", pools="valid"),
    "googlenet cifar": googlenet_cifar(),
    "vgg": vgg("A", head="pool"),
    "vgg bn": vgg("B", batch_norm=True, head="pool"),
}
HEADS = (Head(), Head("embed", (8,)), Head("mlp", (8, 6), 3), Head("conv", (8, 6), 3), Head("conv", (8,), 20))

sides, sizes, grid = st.integers(1, 3), st.integers(1, 12), st.sampled_from(("half", "valid"))
kernels = sides | st.tuples(sides, sides)
keeping = st.builds(Conv, sizes, st.sampled_from((1, 3, (1, 3), (5, 1))), bias=st.booleans(), norm=st.booleans())
leaves = (
    st.builds(Conv, sizes, kernels, st.integers(1, 2), grid, bias=st.sampled_from((None, True)))
    | st.builds(lambda out, groups: Conv(out * groups, groups=groups), sizes, st.integers(1, 2))
    | st.builds(Pool, st.sampled_from(("max", "avg")), kernels, sides, grid, ceil=st.booleans())
    | st.builds(Residual, keeping, shortcut=st.none() | st.builds(Conv, sizes, kernels, padding=st.just("same")))
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


@pytest.fixture(autouse=True, scope="module")
def small_maps_need_one_thread():
    with one_thread():
        yield


def check(layer, shape: Shape, style: Style | None = None) -> None:
    """Compare `layer_cost` with counts on the built module. If `layer_cost` raises, the module must fail too."""
    options = {} if style is None else {"norm": style.norm, "bias": style.bias}
    x = noise(1, *shape)
    try:
        told = layer_cost(layer, shape, style)
    except (iz.InputError, iz.SpecError):
        with torch.no_grad(), suppress(RuntimeError, iz.SpecError):
            assert not build(layer, shape.channels, **options).eval()(x).isfinite().all()  # a max pool sees only padding
        return
    module = build(layer, shape.channels, **options).eval()
    norms = {name: part for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)}
    seen = outputs({"whole": module, **norms}, lambda: module(x))
    assert told.shape == seen.pop("whole").shape[1:]
    assert out_channels(layer, shape.channels) == told.shape.channels
    assert told.normed == min((math.prod(y.shape[2:]) for y in seen.values()), default=None)
    if told.complete:
        assert (told.params, told.macs) == measure(module, lambda: module(x))
    if "Op" not in repr(layer):
        assert told.weights == sum(weight.numel() for weight in module.parameters() if weight.ndim == 4)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: re.sub(" at 0x[0-9a-f]+", "", str(layer)))  # stable test ids
def test_layers(layer):
    for (height, side), style in product(SIZES, STYLES):
        check(layer, Shape(CHANNELS, height, side), style)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(trees, st.builds(Shape, st.integers(1, 6), sizes, sizes))
def test_random_trees(layer, shape):
    check(layer, shape)


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_whole_networks(head):
    aux = Aux("a", Conv(5), Head("mlp", (7,), 2))
    table = network(a=Conv(4, 3, 2), b=concat(x=Conv(3), y=Conv(2, 3)), head=head, aux=(aux,))
    model = build(table).eval()
    for with_aux, size in product((False, True), ((9, 9), (24, 17))):
        model = iz.with_aux(model) if with_aux else model
        told = network_cost(table, Shape(3, *size), 1000, aux=with_aux)
        run = partial(model.forward_aux if with_aux else model, noise(1, 3, *size))
        assert (told.params, told.macs) == measure(model, run)
        assert (told.shape, told.depth) == ((1000, 1, 1), 2 + len(head.hidden) + 1)


def test_depth_is_the_length_of_the_longest_path():
    layer = chain(Conv(4), Residual(concat(a=Conv(4), b=chain(Conv(4), Norm(), Conv(4, 3))), shortcut=Conv(9)))
    assert layer_cost(layer, Shape(3, 8, 8)).depth == 1 + 2 + 1
    assert not layer_cost(chain(Conv(4), Op(nn.Identity, 4)), Shape(3, 8, 8)).complete
    for layer in (Conv(4), Act(), Residual(Conv(3, norm=False, act=False))):
        assert not layer_cost(layer, Shape(3, 8, 8), Style(act=nn.PReLU, norm=None)).complete
        assert layer_cost(layer, Shape(3, 8, 8), Style(norm=None)).complete
    assert layer_cost(Conv(4, act=False), Shape(3, 8, 8), Style(act=nn.PReLU)).complete


def test_only_batch_normalisation_counts_positions():
    for norm, normed in (("batch", 64), ("group", None), ("layer", None), (None, None)):
        assert layer_cost(Conv(4), Shape(3, 8, 8), Style(norm=norm)).normed == normed
    for norm, normed in (("batch", 1), ("layer", None)):
        assert head_cost(Head("embed", (8,), norm=norm), Shape(3, 8, 8), 10).normed == normed


def test_the_stated_parameters_of_a_users_module_are_weights():
    cost = layer_cost(Op(nn.Identity, 4, stride=(1, 2), cost=(20, 16)), Shape(4, 3, 5))
    assert (cost.shape, cost.weights, cost.params, cost.macs) == ((4, 3, 3), 20, 20, 16 * 9)


@pytest.mark.parametrize("num_classes", [0, 10])
@pytest.mark.parametrize("pool", ["avg", "max", "catavgmax", ""])
@pytest.mark.parametrize("head", HEADS, ids=str)
def test_heads_with_every_pooling(head, pool, num_classes):
    table = network(a=Conv(4, 3, 2), head=head)
    classes = num_classes if pool else 0
    model = build_network(table, num_classes=classes, global_pool=pool).eval()
    told = network_cost(table, Shape(3, 24, 17), classes, pool=pool)
    run = partial(model, noise(1, 3, 24, 17))
    assert (told.params, told.macs) == measure(model, run)
    shape = tuple(run().shape[1:])
    assert told.shape == (shape if not pool else (*shape, 1, 1))


def smallest(model: iz.Net) -> int:
    """Return the smallest image side that torch can run, without the model's input check."""

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
        assert min_input_size(table, aux=True) == model.min_input_size == smallest(model)


def test_sizes_that_do_not_fit_are_refused():
    layer = concat(left=Conv(4, 3), right=Pool("max", 3, 2))
    with pytest.raises(iz.SpecError, match=r"one size \(have left: 8x6x4, right: 4x3x3\)"):
        layer_cost(layer, Shape(3, 8, 6))
    with pytest.raises(iz.SpecError, match="left: 4096x4096x4, right: 2048x2048x3"):
        build(network(a=layer))
    with pytest.raises(iz.SpecError, match="the body gives 4x4x3, the shortcut 8x8x3"):
        layer_cost(Residual(Conv(2, 3, 2)), Shape(3, 8, 8))
    with pytest.raises(iz.SpecError, match="groups must divide the input's 3 channels"):
        layer_cost(Conv(4, groups=2), Shape(3, 8, 8))
    with pytest.raises(iz.SpecError, match="even an input of 4096x4096 px is too small"):
        build(network(a=chain(*[VALID(3, 3)] * 8)))


@pytest.mark.parametrize(("name", "smallest"), [("xception", 13), ("inception_v3", 139), ("googlenet", 15), ("vgg11", 32)])
def test_the_smallest_image_whose_maps_have_the_sizes_of_their_reductions(name, smallest):
    net = make_network(REGISTRY[name], {})
    assert min_feature_size(net) == smallest
    names = [level.name for level in feature_levels(net, 3)]

    def fits(side):
        maps = {stage: cost.shape for stage, _, cost in stage_costs(net, Shape(3, side, side))}
        return all(maps[stage].height > side / 2 ** (index + 2) for index, stage in enumerate(names))

    assert all(fits(side) for side in range(smallest, smallest + 100))
    assert smallest == min_input_size(net) or not fits(smallest - 1)


def test_a_network_whose_maps_never_have_the_sizes_of_their_reductions():
    net = network(a=Conv(4, 3, 2), b=Pool("adaptive_avg", 1), c=Conv(4, 3, 2))
    assert min_feature_size(net) == min_input_size(net) == 1
    assert not has_exact_reductions(net)
    assert has_exact_reductions(googlenet())
    assert not has_exact_reductions(network(a=Conv(4, 3, 2, "valid")))
    assert not has_exact_reductions(network(a=VALID(600)))
