"""The registry: list, find and suggest models."""

import string

import pytest

import inceptionzoo as iz

NAMES = iz.list_models()


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


@pytest.mark.parametrize(
    ("theirs", "ours"), [("inception_v1", "googlenet"), ("BNInception", "bn_inception"), ("facenet", "inception_resnet_v1")]
)
def test_names_of_other_libraries_suggest_the_model(theirs, ours):
    with pytest.raises(iz.UnknownModelError, match=f"unknown model '{theirs}'; did you mean '{ours}'"):
        iz.create_model(theirs)


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
