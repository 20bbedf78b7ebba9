"""Register networks of one's own."""

import inspect

import pytest

import inceptionzoo as iz
from inceptionzoo.zoo._options import COMMON
from inceptionzoo.zoo._registry import REGISTRY, find_entry


@pytest.fixture
def clean_registry():
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def test_the_reserved_names_are_those_of_create_model():
    parameters = inspect.signature(iz.create_model).parameters.values()
    own = [parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    assert own[0] == "name"
    assert set(own[1:]) == set(COMMON)


def test_arguments_belong_to_the_model(clean_registry, tmp_path):
    """A list that the caller changes later does not change them."""
    iz.register_model("my_net", lambda widths=(8, 8): iz.network(a=iz.Conv(widths[0], 3), b=iz.Conv(widths[1], 3)))
    widths = [8, 24]
    model = iz.create_model("my_net", widths=widths)
    widths[1] = 99
    assert model.arguments == {"widths": [8, 24]}
    iz.save_weights(model, tmp_path / "a.safetensors")
    again = iz.load_model(tmp_path / "a.safetensors")
    assert again.features.b.conv.out_channels == 24
    assert again.report.differs == {}
    assert iz.load_weights(model, tmp_path / "a.safetensors").differs == {}


def my_network(*, width: int = 8) -> iz.Network:
    return iz.network(conv1=iz.Conv(width, 3, 2), block=iz.inception(4, 4, 8, 2, 4, 4))


def test_register_a_function_and_a_network(clean_registry):
    iz.register_model("my_net", my_network, paper="none", input_size=(3, 40, 48), num_classes=5)
    model = iz.create_model("my_net", width=16)
    assert model.features.conv1.conv.out_channels == 16
    assert (model.num_classes, model.data.input_size) == (5, (3, 40, 48))
    assert "my_net" in iz.list_models("my_*")
    iz.register_model("my_other", my_network(width=4))
    data = iz.DataConfig(input_size=(1, 28, 30), mean=(0.3,), std=(0.2,))
    iz.register_model("my_third", my_network(width=4), data=data)
    assert find_entry("my_third").data == data
    iz.register_model("my_fourth", my_network(width=4), data=data, input_size=(3, 8, 9))
    assert find_entry("my_fourth").data == iz.DataConfig(input_size=(3, 8, 9), mean=(0.3,) * 3, std=(0.2,) * 3)
    assert iz.create_model("my_other").features.conv1.conv.out_channels == 4
    with pytest.raises(iz.ArgumentError, match="unknown keyword 'width' for 'my_other'"):
        iz.create_model("my_other", width=3)


@pytest.mark.parametrize(
    ("name", "network", "options", "text"),
    [
        ("googlenet", my_network, {}, "is one of this library, which cannot be replaced"),
        ("googlenet", my_network, {"replace": True}, "is one of this library, which cannot be replaced"),
        ("fresh", my_network, {"replace": 1}, "replace=1 must be True or False"),
        ("a.b", my_network, {}, "must be made of letters"),
        ("", my_network, {}, "must be made of letters"),
        ("fresh", 7, {}, "must be a network, or a function"),
        ("fresh", lambda: None, {}, "returned None; it must return a network"),
        ("fresh", dict, {}, "must be a network, or a function"),
        (
            "fresh",
            lambda in_chans=3: my_network(),
            {},
            "parameter 'in_chans=3' .*: create_model takes an argument of this name",
        ),
        ("fresh", lambda name="x": my_network(), {}, "parameter \"name='x'\" .*: create_model takes an argument of this name"),
        ("fresh", lambda width: my_network(), {}, "parameter 'width' of its function: it must have a default"),
        ("fresh", lambda **more: my_network(), {}, r"parameter '\*\*more' of its function: it must be passed by its name"),
        ("fresh", lambda *more: my_network(), {}, r"parameter '\*more' of its function: it must be passed by its name"),
        ("fresh", lambda width=3, /: my_network(), {}, "parameter 'width=3' of its function: it must be passed by its name"),
        ("fresh", my_network, {"num_classes": -1}, "num_classes=-1"),
        ("fresh", my_network, {"input_size": (3, 0, 9)}, "input_size"),
        ("fresh", my_network, {"input_size": (2**17, 9, 9)}, "131072, which must be an int from 1 to 65536"),
        ("fresh", my_network, {"paper": None}, "paper=None must be a string"),
        ("fresh", my_network, {"data": {}}, "data={} must be a DataConfig"),
        ("fresh", my_network, {"recipe": "x"}, "recipe='x' must be a Recipe"),
        ("fresh", my_network, {"layouts": ("x",)}, "layouts=.* must be a tuple of Layout"),
    ],
)
def test_bad_registrations_are_refused(clean_registry, name, network, options, text):
    before = dict(REGISTRY)
    with pytest.raises(iz.ArgumentError, match=text):
        iz.register_model(name, network, **options)
    assert before == REGISTRY


def test_a_model_of_ones_own_is_replaced_where_asked(clean_registry):
    iz.register_model("my_net", my_network(width=4))
    before = iz.create_model("my_net", num_classes=2)
    with pytest.raises(iz.ArgumentError, match="'my_net' is already registered; choose another name, or pass replace=True"):
        iz.register_model("my_net", my_network(width=6))
    assert iz.create_model("my_net").features.conv1.conv.out_channels == 4
    iz.register_model("my_net", my_network(width=6), num_classes=5, replace=True)
    after = iz.create_model("my_net")
    assert (after.features.conv1.conv.out_channels, after.num_classes) == (6, 5)
    assert before.features.conv1.conv.out_channels == 4
    with pytest.raises(iz.ArgumentError, match="must be a network"):
        iz.register_model("my_net", 7, replace=True)
    assert iz.create_model("my_net").num_classes == 5
    iz.register_model("my_other", my_network(), replace=True)
    assert iz.is_model("my_other")


@pytest.mark.usefixtures("clean_registry")
def test_a_network_of_three_dimensions_gets_an_input_size_of_three():
    network = iz.network(a=iz.Conv(4, 3), spatial_dims=3)
    iz.register_model("volumes", lambda: network)
    assert iz.model_info("volumes").input_size == (3, 224, 224, 224)
    iz.register_model("small", network, input_size=(1, 8, 16, 16))
    assert iz.create_model("small").data.input_size == (1, 8, 16, 16)
    for wrong in ({"input_size": (3, 64, 64)}, {"data": iz.DataConfig()}):
        with pytest.raises(iz.ArgumentError, match=r"must be \(channels, depth, height, width\) for this network"):
            iz.register_model("flat", network, **wrong)
    assert not iz.is_model("flat")
