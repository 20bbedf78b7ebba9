"""Inception v3 beside its paper's figures, torchvision's, timm's and pytorch-fid's."""

import pytest
import pytorch_fid.inception
import timm
import torch
import torchvision
from helpers import fill, noise, one_thread, outputs, shape_text

import inceptionzoo as iz
from inceptionzoo.models.inception_v3 import (
    ENTRIES,
    inception_a,
    inception_c,
    inception_e,
    inception_v3,
    reduction_a,
    reduction_b,
)
from inceptionzoo.nn._build import build_network
from inceptionzoo.spec._cost import Shape, layer_cost
from inceptionzoo.spec._network_cost import network_cost, stage_costs

ENTRY, FID = ENTRIES
ENDPOINTS = {  # Table 1, and TF-slim's names, at 299 px
    "Conv2d_1a_3x3": "149x149x32",
    "Conv2d_2a_3x3": "147x147x32",
    "Conv2d_2b_3x3": "147x147x64",
    "pool1": "73x73x64",
    "Conv2d_3b_1x1": "73x73x80",
    "Conv2d_4a_3x3": "71x71x192",
    "pool2": "35x35x192",
    "Mixed_5b": "35x35x256",
    "Mixed_5c": "35x35x288",
    "Mixed_5d": "35x35x288",
    "Mixed_6a": "17x17x768",
    "Mixed_6b": "17x17x768",
    "Mixed_6c": "17x17x768",
    "Mixed_6d": "17x17x768",
    "Mixed_6e": "17x17x768",
    "Mixed_7a": "8x8x1280",
    "Mixed_7b": "8x8x2048",
    "Mixed_7c": "8x8x2048",
}
BLOCKS = {  # a block, the shape that goes in, the shape that comes out
    "Figure 5": (inception_a(32), (192, 35, 35), "35x35x256"),
    "Figure 10": (reduction_a(), (288, 35, 35), "17x17x768"),
    "Figure 6": (inception_c(128), (768, 17, 17), "17x17x768"),
    "reduction": (reduction_b(), (768, 17, 17), "8x8x1280"),
    "Figure 7": (inception_e(), (1280, 8, 8), "8x8x2048"),
}
PARAMS = (  # entry, parameters without auxiliary heads and with them
    (ENTRY, 23_834_568, 27_161_264),
    (FID, 23_850_960, 23_850_960),
)
OURS = dict(maxpool1="pool1", maxpool2="pool2", Pool1="pool1", Pool2="pool2")  # where the peers call a stage otherwise


@pytest.fixture(autouse=True, scope="module")
def the_same_bits():
    with one_thread():
        yield


def make(entry, state=None):
    with torch.device("meta"):
        model = build_network(entry.network(), entry=entry, num_classes=entry.num_classes)
    if state is not None:
        assert iz.load_weights(model, state).layout == "torchvision"
    return model.eval()


@pytest.fixture(scope="module")
def reference():
    with torch.device("meta"):
        model = torchvision.models.inception_v3(weights=None, aux_logits=True, init_weights=False)
    return fill(model, noise(2, 3, 299, 299))


@pytest.fixture(scope="module")
def ours(reference):
    return make(ENTRY, reference.state_dict())


@pytest.fixture(scope="module")
def fid():
    """pytorch-fid's network with random weights in place of those that its builder downloads."""
    plain = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda url, progress: plain.state_dict())
        return fill(pytorch_fid.inception.fid_inception_v3(), noise(4, 3, 107, 107))


@pytest.mark.parametrize(("entry", "plain", "with_aux"), PARAMS, ids=["inception_v3", "inception_v3_fid"])
def test_parameters(entry, plain, with_aux):
    model, shape = make(entry), Shape(3, 299, 299)
    assert network_cost(model.network, shape, entry.num_classes).params == plain
    assert network_cost(model.network, shape, entry.num_classes, aux=True).params == with_aux
    assert sum(parameter.numel() for parameter in model.parameters()) == plain
    if entry is ENTRY:
        assert sum(parameter.numel() for parameter in iz.with_aux(model).parameters()) == with_aux
    assert (model.min_input_size, model.head.drop.p) == (75, 0.5)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_the_figures(name):
    block, before, after = BLOCKS[name]
    assert str(layer_cost(block, Shape(*before)).shape) == after


def stages_equal(theirs, run_theirs, ours, x, names):
    """Compare every stage and the logits; return the shapes of our stages."""
    expected = outputs({name: getattr(theirs, name) for name in names} | {"logits": theirs}, run_theirs)
    seen = outputs(dict(ours.features.named_children()) | {"logits": ours}, lambda: ours(x))
    assert {OURS.get(name, name) for name in expected} == set(seen)
    for name, value in expected.items():
        assert value.std() > 1e-3, name
        assert seen[OURS.get(name, name)].equal(value), name
    return {name: shape_text(value) for name, value in seen.items() if name != "logits"}


def children(peer):
    """Return the names of a peer's stages."""
    tops = ("Conv2d", "maxpool", "Pool", "Mixed")
    return [name for name, _ in peer.named_children() if name.startswith(tops)]


@pytest.mark.parametrize("size", [(299, 299), (171, 131)], ids=str)
def test_equals_torchvision_at_every_stage(reference, ours, size):
    assert set(ours.report.dropped) == {key for key in reference.state_dict() if key.startswith("AuxLogits.")} != set()
    x = noise(2, 3, *size)
    shapes = stages_equal(reference, lambda: reference(x), ours, x, children(reference))
    if size == (299, 299):
        assert shapes == ENDPOINTS == {name: str(row.shape) for name, _, row in stage_costs(ours.network, Shape(3, *size))}


@pytest.mark.parametrize("size", [(299, 299), (171, 131)], ids=str)
def test_equals_timm_at_every_stage(reference, ours, size):
    with torch.device("meta"):
        peer, whole = timm.create_model("inception_v3"), timm.create_model("inception_v3", aux_logits=True)
    state = reference.state_dict()
    assert set(whole.state_dict()) == set(state)
    peer.load_state_dict({key: state[key] for key in peer.state_dict()}, assign=True)
    x = noise(2, 3, *size)
    stages_equal(peer.eval(), lambda: peer(x), ours, x, children(peer))


def test_equals_torchvision_in_training(reference, ours):
    state = {key: value.clone() for key, value in reference.state_dict().items()}
    model = iz.with_aux(make(ENTRY, state))
    assert iz.load_weights(model, state).dropped == []
    x = noise(2, 3, 299, 299, seed=3)
    with torch.no_grad():
        torch.manual_seed(7)  # dropout draws the same where it stands in the same places
        logits, taps = model.train().forward_aux(x)
        torch.manual_seed(7)
        expected = reference.train()(x)
        reference.eval().load_state_dict(state)
    assert logits.equal(expected.logits)
    assert list(taps) == ["Mixed_6e"]
    assert taps["Mixed_6e"].equal(expected.aux_logits)
    assert [(head.weight, head.head.drop.p) for head in model.aux.values()] == [(0.3, 0.0)]


def test_equals_torchvisions_auxiliary_head_in_evaluation(reference, ours):
    model = iz.with_aux(make(ENTRY, reference.state_dict()))
    iz.load_weights(model, reference.state_dict())
    x = noise(1, 768, 17, 20)
    with torch.no_grad():
        assert model.aux["Mixed_6e"](x).equal(reference.AuxLogits(x))


@pytest.mark.parametrize("size", [(299, 299), (171, 131)], ids=str)
def test_equals_pytorch_fid_at_every_stage(fid, size):
    ours, x = make(FID, fid.state_dict()), noise(1, 3, *size)
    shapes = stages_equal(fid, lambda: fid(x), ours, x, children(fid))
    assert size != (299, 299) or shapes == ENDPOINTS


def test_equals_the_features_of_pytorch_fid(fid, monkeypatch):
    monkeypatch.setattr(pytorch_fid.inception, "fid_inception_v3", lambda: fid)
    extractor = pytorch_fid.inception.InceptionV3([0, 1, 2, 3], resize_input=False).eval()
    ours, images = make(FID, fid.state_dict()), noise(1, 3, 299, 299).sigmoid()  # in 0..1
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (FID.data.mean, FID.data.std))
    x = (images - mean) / std
    with torch.no_grad():
        expected = extractor(images)
    taps = outputs({name: getattr(ours.features, name) for name in ("pool1", "pool2", "Mixed_6e", "Mixed_7c")}, lambda: ours(x))
    features = [*list(taps.values())[:3], taps["Mixed_7c"].mean((2, 3), keepdim=True)]
    assert [value.shape[1] for value in features] == [64, 192, 768, 2048]
    for value, other in zip(features[:3], expected[:3], strict=True):
        assert value.equal(other)
    with torch.no_grad():
        assert ours.forward_head(taps["Mixed_7c"], pre_logits=True).equal(expected[3].flatten(1))
    assert (FID.data.input_size, FID.data.crop_pct, FID.num_classes) == ((3, 299, 299), 1.0, 1008)


def test_fid_differs_by_its_pools_alone(fid):
    """On the same weights, other numbers from the first average on, or from the last pool."""
    x, state = noise(1, 3, 107, 107), fid.state_dict()

    def seen(network):
        model = build_network(network, entry=FID, num_classes=1008).eval()
        iz.load_weights(model, state)
        return outputs(dict(model.features.named_children()), lambda: model(x))

    ours = seen(FID.network())
    others = seen(inception_v3(include_pad=False)), seen(inception_v3(last_pool="max"))
    first = [next(name for name in ENDPOINTS if not ours[name].equal(other[name])) for other in others]
    assert first == ["Mixed_7c", "Mixed_5b"]


@pytest.mark.parametrize(("argument", "value"), [("include_pad", None), ("last_pool", "sum"), ("aux", "yes")])
def test_refuses_other_arguments(argument, value):
    with pytest.raises(iz.ArgumentError, match=argument):
        inception_v3(**{argument: value})


def test_layout_is_a_bijection_in_the_order_of_torchvision(reference):
    for entry in ENTRIES:
        state = make(entry).state_dict()
        assert list(entry.layouts[0].table(state).values()) == [
            key for key in reference.state_dict() if not key.startswith("AuxLogits")
        ]
    whole = iz.with_aux(make(ENTRY)).state_dict()
    assert set(ENTRY.layouts[0].table(whole).values()) == set(reference.state_dict())


def test_data_is_timms():
    config = timm.get_pretrained_cfg("inception_v3.tf_in1k")
    assert (*ENTRY.data.mean, *ENTRY.data.std) == (*config.mean, *config.std)
    data = (ENTRY.data.input_size, ENTRY.data.interpolation, ENTRY.data.crop_pct)
    assert data == (config.input_size, config.interpolation, config.crop_pct)
