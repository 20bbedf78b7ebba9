"""The registry: list, find, suggest and register models."""

import inspect
import string

import pytest

import inceptionzoo as iz
from inceptionzoo.zoo import _registry as registry
from inceptionzoo.zoo._registry import find_entry

NAMES = iz.list_models()


@pytest.fixture
def clean_registry():
    before = dict(registry.REGISTRY)
    yield
    registry.REGISTRY.clear()
    registry.REGISTRY.update(before)


def misspellings(name: str) -> set[str]:
    """Return every name one edit away: one letter left out, inserted or changed, or two neighbours swapped."""
    cuts = [(name[:i], name[i:]) for i in range(len(name) + 1)]
    return (
        {a + b[1:] for a, b in cuts if b}
        | {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
        | {a + letter + b[1:] for a, b in cuts if b for letter in string.ascii_lowercase}
        | {a + letter + b for a, b in cuts for letter in string.ascii_lowercase}
    ) - set(NAMES)


def test_list_is_sorted_and_filtered():
    assert sorted(NAMES) == NAMES
    assert iz.list_models("googlenet*") == ["googlenet", "googlenet_5x5", "googlenet_cifar", "googlenet_paper"]
    assert iz.list_models("vgg1[13]") == ["vgg11", "vgg13"]
    assert iz.list_models(["googlenet", "vgg16"]) == ["googlenet", "vgg16"]
    assert iz.list_models("vgg*", exclude_filters=["*_cifar", "*_bn"]) == [
        "vgg11",
        "vgg11_lrn",
        "vgg13",
        "vgg16",
        "vgg16_1x1",
        "vgg19",
    ]
    assert iz.list_models("resnet*") == []
    tags = ["gluon_in1k", "keras_in1k", "keras_in1k_notop", "tf_adv_in1k", "tf_in1k", "tv_in1k"]
    assert iz.list_models("inception_v3", pretrained=True) == [f"inception_v3.{tag}" for tag in tags]
    assert iz.list_models("*.tf_*", pretrained=True, exclude_filters="inception_*") == ["xception.tf_in1k"]


def test_is_model():
    assert iz.is_model("googlenet")
    assert not iz.is_model("googlnet")
    assert iz.is_model("googlenet.tv_in1k")
    assert not iz.is_model("googlenet.tv")


@pytest.mark.parametrize("name", NAMES)
def test_misspelt_names_suggest_the_model(name):
    suggested = total = 0
    for misspelling in misspellings(name):
        with pytest.raises(iz.UnknownModelError, match="See list_models") as error:
            iz.create_model(misspelling)
        total += 1
        suggested += repr(name) in str(error.value).split("did you mean")[-1]
    assert suggested / total >= 0.95


def test_no_suggestion_without_a_close_name():
    with pytest.raises(iz.UnknownModelError, match=r"^unknown model 'zzz'. See list_models\(\)$"):
        iz.model_info("zzz")
    with pytest.raises(iz.ArgumentError, match="must be a string"):
        iz.create_model(7)


def test_model_info():
    info = iz.model_info("googlenet")
    assert (info.name, info.params, info.num_classes) == ("googlenet", 6_624_904, 1000)
    assert (info.input_size, info.min_input_size, list(info.weights)) == ((3, 224, 224), 15, ["tv_in1k"])
    assert info.macs == pytest.approx(1.498e9, rel=1e-3)
    assert "1409.4842" in info.paper
    assert info.complete
    assert iz.model_info("googlenet_cifar").input_size == (3, 32, 32)


@pytest.mark.parametrize(
    "name", [name for name in iz.list_models(pretrained=True) if name.startswith(("vgg16.", "i3d.", "inception_resnet_v1."))]
)
def test_model_info_of_a_tag_is_that_of_its_model(name):
    info, model = iz.model_info(name), iz.create_model(name, device="meta")
    assert info.params == sum(parameter.numel() for parameter in model.parameters())
    assert (info.num_classes, info.input_size) == (model.num_classes, model.data.input_size)
    assert info.input_size[0] == model.in_chans


def test_what_model_info_returns_is_not_the_registry():
    iz.model_info("googlenet").weights.clear()
    assert iz.list_models("googlenet", pretrained=True) == ["googlenet.tv_in1k"]


def test_the_reserved_names_are_those_of_create_model():
    parameters = inspect.signature(iz.create_model).parameters.values()
    own = [parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    assert own[0] == "name"
    assert set(own[1:]) == set(registry.COMMON)


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
    before = dict(registry.REGISTRY)
    with pytest.raises(iz.ArgumentError, match=text):
        iz.register_model(name, network, **options)
    assert before == registry.REGISTRY


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
