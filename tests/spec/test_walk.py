"""Traversal of a specification: children, leaves and mapped leaves of every kind of layer."""

from dataclasses import replace

import pytest

import inceptionzoo as iz
from inceptionzoo import Act, Chain, Concat, Conv, Depthwise, Norm, Op, Pool, Residual, chain, concat
from inceptionzoo.spec import LAYERS, children, leaves, map_leaves, named_leaves

A, B, C, D = (Conv(out) for out in (1, 2, 3, 4))
LEAVES = (A, Depthwise(3), Pool("max"), Norm("lrn"), Act(), Op(len, 8))
# layer, its children, its leaves
COMPOSITES = (
    (chain(A, B), (A, B), (A, B)),
    (concat(late=B, early=A), (B, A), (B, A)),  # in the order in which they are written
    (Residual(A), (A,), (A,)),
    (Residual(A, shortcut=B), (A, B), (A, B)),
    (chain(A, concat(x=B, y=Residual(chain(C, A), shortcut=D))), None, (A, B, C, A, D)),
    (Residual(concat(x=chain(B, A), y=C), shortcut=chain(D, B)), None, (B, A, C, D, B)),
)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda layer: type(layer).__name__)
def test_a_leaf(leaf):
    assert children(leaf) == ()
    assert list(leaves(leaf)) == [leaf]
    assert map_leaves(leaf, lambda layer: Residual(layer)) == Residual(leaf)


@pytest.mark.parametrize(("layer", "inner", "expected"), COMPOSITES, ids=lambda value: type(value).__name__)
def test_a_composite(layer, inner, expected):
    if inner is not None:
        assert children(layer) == inner
    assert tuple(leaves(layer)) == expected
    assert map_leaves(layer, lambda leaf: leaf) == layer


def test_every_kind_of_layer_is_covered():
    assert {*map(type, LEAVES), *(type(layer) for layer, *_ in COMPOSITES)} == set(LAYERS)


def test_mapped_leaves_keep_names_and_other_fields():
    block = Residual(concat(x=A, y=Op(len, 8)), scale=0.1, project=False, shortcut=B, act=False, drop_path=0.2)
    changed = map_leaves(block, lambda leaf: replace(leaf, out=10 * leaf.out))
    expected = replace(block, body=concat(x=Conv(10), y=Op(len, 80)), shortcut=Conv(20))
    assert changed == expected
    assert map_leaves(chain(A, A), lambda leaf: chain(leaf, Act())) == Chain((chain(A, Act()), chain(A, Act())))
    assert isinstance(map_leaves(concat(x=A), lambda leaf: leaf), Concat)


def test_leaves_of_a_network_in_order():
    stages = iz.models.vgg.vgg("A").stages
    kinds = [type(leaf) for _, layer in stages for leaf in leaves(layer)]
    assert (kinds.count(Conv), kinds.count(Pool)) == (8, 5)


def test_named_leaves_have_the_paths_of_their_modules():
    block = chain(A, concat(x=B, y=Residual(chain(C, A), shortcut=D)))
    module = iz.build(block, in_channels=4)
    paths = dict(named_leaves(block))
    assert list(paths) == ["0", "1.x", "1.y.body.0", "1.y.body.1", "1.y.shortcut"]
    for path, leaf in paths.items():
        assert module.get_submodule(path).conv.out_channels == leaf.out
    assert [path for path, _ in named_leaves(block, "features.mixed")] == [f"features.mixed.{path}" for path in paths]
