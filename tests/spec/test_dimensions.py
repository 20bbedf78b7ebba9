"""Networks of one and three dimensions, as plain data."""

import re

import pytest
from helpers import IMAGE_MODELS

import inceptionzoo as iz
from inceptionzoo.spec import (
    feature_levels,
    layer_cost,
    leaves,
    make_network,
    min_input_size,
    network_cost,
    network_from_json,
    network_to_json,
    with_spatial_dims,
)
from inceptionzoo.zoo import find_entry

NAMES = IMAGE_MODELS
PAIR = iz.chain(iz.Conv(8, (1, 7)), iz.Conv(8, (7, 1)))
IMAGES = iz.network(stem=iz.Conv(4, 3, 2), pair=PAIR, head=iz.Head("mlp", (5,), 7))


def kernels(network: iz.Network) -> list[object]:
    return [leaf.kernel for _, layer in network.stages for leaf in leaves(layer)]


def test_pairs_become_a_line_and_a_plane():
    assert kernels(with_spatial_dims(IMAGES, 3)) == [3, (1, 1, 7), (7, 7, 1)]
    assert kernels(with_spatial_dims(IMAGES, 1)) == [3, 7, 1]
    assert with_spatial_dims(IMAGES, 3).head.size == (1, 7, 7)
    assert with_spatial_dims(IMAGES, 1).head.size == 7
    assert with_spatial_dims(IMAGES, 2) is IMAGES


def test_strides_and_dilations_follow_the_same_rule():
    layer = iz.chain(iz.Conv(4, 3, (1, 2), dilation=(2, 1)), iz.Pool("max", (2, 3), (2, 3)), iz.Depthwise((3, 1), (1, 2)))
    aux = (iz.Aux("a", iz.Pool("adaptive_avg", (4, 5)), iz.Head("mlp", (3,), 4)),)
    changed = with_spatial_dims(iz.network(a=layer, aux=aux), 3)
    assert changed.stages[0][1] == iz.chain(
        iz.Conv(4, 3, (1, 1, 2), dilation=(2, 2, 1)), iz.Pool("max", (2, 2, 3), (2, 2, 3)), iz.Depthwise((3, 3, 1), (1, 1, 2))
    )
    assert changed.aux[0].layers.kernel == (4, 4, 5)
    assert changed.aux[0].head.size == (1, 4, 4)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_has_three_forms(name):
    """A smallest cube is accepted and the next smaller one is not; the parameters grow with the dimensions."""
    params = []
    for dims in (1, 2, 3):
        network = make_network(find_entry(name), {"spatial_dims": dims})
        assert network.spatial_dims == dims
        side = min_input_size(network)
        params.append(network_cost(network, iz.Shape(3, *(side,) * dims), 10).params)
        with pytest.raises((iz.InputError, iz.SpecError)):
            network_cost(network, iz.Shape(3, *(side - 1,) * dims), 10)
    assert params[0] < params[1] < params[2]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_network_is_written_with_its_dimensions_and_read_again(dims):
    network = with_spatial_dims(IMAGES, dims)
    data = network_to_json(network)
    assert network_from_json(data) == network


def test_a_file_without_dimensions_is_of_images():
    data = network_to_json(IMAGES)
    for key in ("spatial_dims", "time_padding"):
        del data["style"][key]
    assert network_from_json(data) == IMAGES


def test_replicated_time_padding_is_written_too():
    network = iz.network(a=iz.Conv(3, 3), style=iz.Style(spatial_dims=3, time_padding="replicate"))
    assert network_from_json(network_to_json(network)) == network


def test_replicated_time_padding_keeps_any_number_of_frames():
    layer = iz.chain(iz.Conv(4, 5, 2, "valid"), iz.Pool("max", 3, 2, "valid", ceil=True), iz.Conv(4, (3, 1, 1)))
    style = iz.Style(spatial_dims=3, time_padding="replicate")
    for frames, expected in ((1, 1), (2, 1), (4, 1), (5, 2), (16, 4)):
        assert layer_cost(layer, iz.Shape(3, frames, 32, 32), style).shape == (4, expected, 7, 7)


def test_a_dilated_pool_in_time_sees_copies_of_a_single_frame():
    """With zeros in their place, it would see nothing but padding."""
    pool = iz.Pool("max", (2, 1, 1), 1, "same", dilation=(3, 1, 1))
    replicate = iz.Style(spatial_dims=3, time_padding="replicate")
    assert layer_cost(pool, iz.Shape(2, 1, 4, 4), replicate).shape == (2, 1, 4, 4)
    with pytest.raises(iz.InputError, match="a map of 1x4x4x2 is too small"):
        layer_cost(pool, iz.Shape(2, 1, 4, 4))


WRONG = {
    "iz.network(a=iz.Conv(3, (1, 7)), spatial_dims=3)": "network: a: kernel=(1, 7) has 2 numbers, and spatial_dims=3 needs 3: "
    "(depth, height, width), or one int",
    "iz.network(a=iz.Conv(3, 3, (2, 2)), spatial_dims=1)": "network: a: stride=(2, 2) has 2 numbers, and spatial_dims=1 needs",
    "iz.network(a=iz.Pool('max', (3, 3, 3)))": "network: a: kernel=(3, 3, 3) has 3 numbers, and spatial_dims=2 needs 2",
    "iz.network(a=iz.Conv(3, 3, dilation=(1, 2, 2)))": "network: a: dilation=(1, 2, 2) has 3 numbers",
    "iz.network(a=iz.Conv(3), head=iz.Head('mlp', (2,), (7, 7)), spatial_dims=3)": "network: head: size=(7, 7) has 2 numbers",
    "iz.network(a=iz.Conv(3), aux=(iz.Aux('a', iz.Pool('avg', (2,)), iz.Head()),))": "network: aux a: kernel=(2,) has 1 number",
    "iz.network(a=iz.Op(len, 3, stride=(1, 2)), spatial_dims=3)": "network: a: stride=(1, 2) has 2 numbers",
    "iz.network(a=iz.Conv(3), spatial_dims=4)": "spatial_dims=4 must be one of 1, 2, 3",
    "iz.network(a=iz.Conv(3), spatial_dims=True)": "spatial_dims=True must be one of 1, 2, 3",
    "iz.Conv(3, (1, 7), (2, 2, 2))": "Conv: kernel=(1, 7), stride=(2, 2, 2) have different lengths",
    "iz.Conv(3, (1, 1, 1, 1))": "Conv: kernel=(1, 1, 1, 1) must be an int, or one to three ints: one per dimension",
    "iz.Conv(3, (3, 3, 1), (1, 1, 2), 'same')": "padding='same' needs a kernel of one pixel, or one at least as large",
    "iz.Style(time_padding='replicate')": "time_padding='replicate' needs spatial_dims=3 (have 2)",
    "iz.Style(spatial_dims=3, time_padding='reflect')": "time_padding='reflect' must be one of 'zeros', 'replicate'",
    "with_spatial_dims(iz.network(a=iz.Op(len, 3)), 3)": "spatial_dims=3 cannot change Op(",
    "with_spatial_dims(iz.network(a=iz.Conv(3), spatial_dims=3), 2)": "the network has 3; only one for images can change",
    "make_network(find_entry('googlenet'), {'time_padding': 'replicate'})": "needs spatial_dims=3 (have 2)",
    "network_cost(IMAGES, iz.Shape(3, 8, 8, 8), 2)": "a map of 8x8x8x3 has 3 spatial dimensions, and the network has 2",
}


@pytest.mark.parametrize("expression", WRONG)
def test_other_dimensions_are_refused(expression):
    with pytest.raises((iz.SpecError, iz.ArgumentError, iz.InputError), match=re.escape(WRONG[expression])):
        eval(expression)


def test_a_video_network_may_reduce_time_less():
    stages = dict(a=iz.Conv(4, 3, 2), b=iz.Pool("max", (1, 3, 3), (1, 2, 2)), c=iz.Conv(8, 3), d=iz.Conv(8, 3, (2, 1, 1)))
    levels = feature_levels(iz.network(stages, spatial_dims=3), 3)
    assert [(level.name, level.reductions) for level in levels] == [("a", (2, 2, 2)), ("c", (2, 4, 4)), ("d", (4, 4, 4))]
    assert [level.reduction for level in levels] == [2, 4, 4]
