"""A network of one's own: saved with its weights, loaded by a process that never registered it."""

import copy
import dataclasses
import json
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import noise, tiny_network
from torch import nn

import inceptionzoo as iz
from inceptionzoo.spec import network_to_json
from inceptionzoo.weights import MARKER, read_safetensors, write_safetensors
from inceptionzoo.zoo._registry import REGISTRY


def metadata_in(path: Path) -> dict[str, object]:
    return json.loads(read_safetensors(path)[1][MARKER])


def rewrite(path: Path, metadata: object) -> None:
    """Give the file other metadata, with a digest that matches."""
    write_safetensors(path, read_safetensors(path)[0], {MARKER: json.dumps(metadata)})


def built(*, in_channels: int = 3, num_classes: int = 3, **style: object) -> iz.Net:
    """Return a model of `build` in evaluation mode, with random weights and without a name."""
    torch.manual_seed(0)
    model = iz.build(tiny_network(), in_channels=in_channels, **style)
    model.reset_classifier(num_classes)
    return model.eval()


def assert_same(again: iz.Net, model: iz.Net) -> None:
    x = noise(2, model.in_chans, 9, 9)
    assert again.network == model.network
    assert again(x).equal(model(x))


# --- without a name ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"in_channels": 1}, {"act": "silu", "norm": "group", "bias": True}], ids=str)
def test_a_model_of_build_is_saved_and_loaded(tmp_path, options):
    model = built(**options)
    model.set_class_names(["a", "b", "c"])
    iz.save_weights(model, tmp_path / "a.safetensors", metrics={"auc": 0.5})
    again = iz.load_model(tmp_path / "a.safetensors")
    assert_same(again, model)
    assert (again.entry, again.class_names, again.data) == (None, ("a", "b", "c"), model.data)
    assert again.data.input_size[0] == model.in_chans
    iz.save_weights(again, tmp_path / "b.safetensors", metrics={"auc": 0.5})
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()


def test_a_new_process_loads_it(tmp_path):
    model, x = built(), torch.ones(1, 3, 9, 9)
    iz.save_weights(model, tmp_path / "a.safetensors")
    code = "import sys, torch, inceptionzoo as iz; print(iz.load_model(sys.argv[1])(torch.ones(1, 3, 9, 9))[0].tolist())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.safetensors")], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == pytest.approx(model(x)[0].tolist(), rel=1e-4, abs=1e-6)


def test_auxiliary_heads_without_classes_are_saved_and_loaded(tmp_path):
    model, x = iz.with_aux(built()), noise(1, 3, 9, 9)
    model.reset_classifier(0)
    iz.save_weights(model, tmp_path / "a.safetensors")
    again = iz.load_model(tmp_path / "a.safetensors")
    assert again(x).equal(model(x))
    assert again.forward_aux(x)[1]["stem"].equal(model.forward_aux(x)[1]["stem"])
    again.reset_classifier(5)
    assert again.forward_aux(x)[1]["stem"].shape == (1, 5)


def test_a_model_pruned_before_its_first_level_is_saved_and_loaded(tmp_path):
    network = iz.network(conv1=iz.Conv(4, 3), conv2=iz.Conv(4, 3), conv3=iz.Conv(8, 3, 2), conv4=iz.Conv(8, 3, 2))
    model, x = iz.build(network).eval(), noise(1, 3, 16, 16)
    model.prune_intermediate_layers(["conv1"])
    assert [info["module"] for info in model.feature_info] == ["features.conv1"]
    iz.save_weights(model, tmp_path / "a.safetensors")
    assert iz.load_model(tmp_path / "a.safetensors")(x).equal(model(x))


class Scaled(nn.Module):
    """An activation with a buffer that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.full((), 0.5), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu() * self.factor


def test_buffers_outside_the_state_dict_of_ones_own_modules(tmp_path):
    def network(in_channels: int = 3) -> iz.Network:
        style = dataclasses.replace(tiny_network().style, act=Scaled)
        return dataclasses.replace(tiny_network(), style=style)

    iz.register_model("scaled", network, num_classes=3)
    try:
        model, x = iz.create_model("scaled").eval(), noise(1, 3, 9, 9)
        iz.save_weights(model, tmp_path / "a.safetensors")
        assert iz.load_model(tmp_path / "a.safetensors")(x).equal(model(x))
        clip = x[:, :, None].expand(-1, -1, 4, -1, -1)
        torch.testing.assert_close(iz.inflate(model, length=4)(clip), model(x))
    finally:
        del REGISTRY["scaled"]


def test_auxiliary_heads_fused_weights_and_features(tmp_path):
    path = tmp_path / "a.safetensors"
    model = iz.with_aux(built())
    iz.save_weights(model, path)
    x = noise(1, 3, 9, 9)
    assert iz.load_model(path).forward_aux(x)[1]["stem"].equal(model.forward_aux(x)[1]["stem"])
    fused = iz.fuse(built(), tune=False)
    iz.save_weights(fused, path)
    again = iz.load_model(path)
    assert again.fused
    torch.testing.assert_close(again(x), fused(x))
    pruned = built()
    pruned.prune_intermediate_layers([0])
    iz.save_weights(pruned, path)
    assert iz.load_model(path)(x).equal(pruned(x))


def test_an_ensemble_of_them(tmp_path):
    ensemble = iz.Ensemble([built(), built(act="silu")]).eval()
    ensemble.save(tmp_path / "e.safetensors")
    x = noise(2, 3, 9, 9)
    assert iz.Ensemble.load(tmp_path / "e.safetensors")(x).equal(ensemble(x))


def test_a_training_saves_it(tmp_path):
    model, batches = built(), [(noise(4, 3, 9, 9), torch.tensor([0, 1, 2, 0]))]
    iz.fit(model, batches, epochs=1, out=tmp_path / "run", seed=0)
    assert_same(iz.load_model(tmp_path / "run" / "best.safetensors"), model.eval().to(memory_format=torch.channels_last))
    with pytest.raises(iz.ArgumentError, match="model was .* pass another folder as out"):
        iz.fit(built(act="silu"), batches, epochs=1, out=tmp_path / "run", seed=0)


def test_a_repository_holds_it(tmp_path):
    model = built()
    iz.save_pretrained(model, tmp_path / "repo", class_names=["a", "b", "c"])
    reference = f"local-dir:{tmp_path / 'repo'}"
    assert_same(iz.create_model(reference).eval(), model)
    assert iz.create_model(reference, num_classes=5)(noise(1, 3, 9, 9)).shape == (1, 5)
    features = iz.create_model(reference, features_only=True).eval()
    assert features(noise(1, 3, 9, 9))[-1].equal(model.forward_features(noise(1, 3, 9, 9)))
    same = iz.create_model(reference, padding="valid")
    assert [layer.padding for _, layer in same.network.stages[:1]] == ["half"]
    with pytest.raises(iz.ArgumentError, match="unknown keyword 'width'"):
        iz.create_model(reference, width=4)
    assert "# A network without a name" in (tmp_path / "repo" / "README.md").read_text()


def test_weights_of_another_network_are_reported(tmp_path):
    model, other = built(), built(act="silu")
    iz.save_weights(model, tmp_path / "a.safetensors")
    assert iz.load_weights(model, tmp_path / "a.safetensors").differs == {}
    report = iz.load_weights(other, tmp_path / "a.safetensors")
    assert report.differs == {"network": "style.act: 'relu' and 'silu', the saved value first"}


def test_a_file_is_converted(tmp_path):
    model = built()
    iz.save_weights(model, tmp_path / "a.safetensors")
    iz.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", class_names=["a", "b", "c"])
    assert iz.load_model(tmp_path / "b.safetensors").class_names == ("a", "b", "c")
    assert_same(iz.load_model(tmp_path / "b.safetensors"), model)


CODE = {
    "an Op": (lambda: iz.build(iz.network(a=iz.Conv(4), b=iz.Op(lambda c: nn.Conv2d(c, 4, 1), 4))), r"stages\.b=Op"),
    "a class": (lambda: iz.build(iz.network(a=iz.Conv(4)), act=nn.GELU), r"style\.act=.*GELU"),
}


@pytest.mark.parametrize(("make", "text"), CODE.values(), ids=CODE)
def test_a_nameless_network_with_code_is_refused_before_anything_is_written_or_trained(tmp_path, make, text):
    model, batches = make(), [(noise(2, 3, 9, 9), torch.tensor([0, 1]))]
    before = copy.deepcopy(model.state_dict())
    for save in (
        lambda: iz.save_weights(model, tmp_path / "a.safetensors"),
        lambda: iz.save_pretrained(model, tmp_path / "repo"),
        lambda: iz.Ensemble([model]).save(tmp_path / "e.safetensors"),
        lambda: iz.fit(model, batches, epochs=1, out=tmp_path / "run"),
    ):
        with pytest.raises(iz.ArgumentError, match=f"{text}.* is code.*register_model"):
            save()
    assert list(tmp_path.iterdir()) == []
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())


# --- registered under a name ---------------------------------------------------------------------------------------------
@pytest.fixture
def saved(tmp_path, register):
    """The path of a saved model of a registered function, and the model; the name is no longer registered."""
    register("own", tiny_network, num_classes=3, input_size=(3, 9, 9))
    torch.manual_seed(0)
    model = iz.create_model("own", width=6, act_layer="silu").eval()
    iz.save_weights(model, tmp_path / "own.safetensors")
    del REGISTRY["own"]
    return tmp_path / "own.safetensors", model


def test_a_registered_network_is_loaded_without_its_registration(saved, tmp_path):
    path, model = saved
    again = iz.load_model(path)
    assert_same(again, model)
    assert (again.entry.name, again.arguments, again.data) == ("own", {"width": 6, "act_layer": "silu"}, model.data)
    assert not iz.is_model("own")
    iz.save_weights(again, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()
    with pytest.raises(iz.UnknownModelError, match="own"):
        iz.create_model("own", weights=path)


def test_a_registration_that_agrees_is_used(saved, register):
    path, model = saved
    register("own", tiny_network, num_classes=3, recipe=iz.Recipe(lr=0.5))
    for again in (iz.load_model(path), iz.create_model("own", weights=path).eval()):
        assert_same(again, model)
        assert again.entry is REGISTRY["own"]


def test_a_registration_that_differs_is_refused(saved, register):
    path, _ = saved
    register("own", lambda *, width=4: tiny_network(width=width, five=5), num_classes=3)
    for load in (lambda: iz.load_model(path), lambda: iz.create_model("own", weights=path)):
        with pytest.raises(
            iz.MismatchError, match=r"another network than .*'own': stages\.block.*register yours under another"
        ):
            load()


def test_a_file_cannot_give_a_model_of_this_library_another_network(saved):
    path, _ = saved
    rewrite(path, metadata_in(path) | {"architecture": "vgg11", "arguments": {}})
    with pytest.raises(iz.MismatchError, match="another network than the one registered as 'vgg11'"):
        iz.load_model(path)


def test_a_registered_network_with_code_needs_its_registration(tmp_path, register):
    register("gated", iz.network(a=iz.Conv(4), b=iz.Op(lambda c: nn.Conv2d(c, 4, 1), 4)), num_classes=3)
    path = tmp_path / "a.safetensors"
    iz.save_weights(iz.create_model("gated"), path)
    assert "network" not in metadata_in(path)
    assert iz.load_model(path).entry.name == "gated"
    del REGISTRY["gated"]
    with pytest.raises(iz.UnknownModelError, match="gated"):
        iz.load_model(path)


def test_the_file_of_a_model_of_this_library_holds_no_network(tmp_path):
    model = iz.create_model("googlenet_cifar", num_classes=2)
    for instance in (model, copy.deepcopy(model)):
        iz.save_weights(instance, tmp_path / "a.safetensors")
        assert "network" not in metadata_in(tmp_path / "a.safetensors")


# --- files of strangers --------------------------------------------------------------------------------------------------
@pytest.fixture
def small_memory():
    """Limit the address space to 1 GiB more than now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


HUGE = {
    "a wide layer": iz.network(stem=iz.Conv(2**31 - 1, 3)),
    "a large kernel": iz.network(stem=iz.Conv(4, 2**31 - 1, padding="same")),
    "a wide head": iz.network(stem=iz.Conv(4, 3), head=iz.Head("mlp", (2**31 - 1,), 1)),
    "widening layers": iz.network(stem=iz.chain(*[iz.Depthwise(multiplier=2**20)] * 9)),
    "a large auxiliary head": iz.network(stem=iz.Conv(4, 3), aux=(iz.Aux("stem", iz.Conv(2**31 - 1), iz.Head()),)),
}


@pytest.mark.usefixtures("small_memory")
@pytest.mark.parametrize("network", HUGE.values(), ids=HUGE)
def test_a_huge_network_is_refused_before_anything_is_allocated(saved, network):
    path, _ = saved
    rewrite(path, metadata_in(path) | {"architecture": "", "arguments": {}, "aux": True, "network": network_to_json(network)})
    with pytest.raises((iz.WeightsError, iz.SpecError)):
        iz.load_model(path)


WRONG = [None, [], {}, 3, "x", {"type": "Network"}, {"type": "Conv", "out": 4}]


@pytest.mark.parametrize("value", WRONG, ids=str)
def test_a_wrong_network_is_refused_with_the_files_name(saved, value):
    path, _ = saved
    rewrite(path, metadata_in(path) | {"network": value})
    with pytest.raises(iz.FileError, match=r"own\.safetensors: its header does not describe a model: .*save it again"):
        iz.load_model(path)


@pytest.mark.parametrize("name", ["../own", "a.b", "a b", "\ud800", "a\n", "x" * 201])
def test_a_wrong_name_is_refused(saved, name):
    path, _ = saved
    rewrite(path, metadata_in(path) | {"architecture": name})
    with pytest.raises(iz.FileError, match="must be made of letters|a name has at most 200"):
        iz.load_model(path)


def test_a_network_without_a_name_must_be_in_the_file(saved):
    path, _ = saved
    metadata = metadata_in(path) | {"architecture": ""}
    del metadata["network"]
    rewrite(path, metadata)
    with pytest.raises(iz.FileError, match="architecture='' needs a network"):
        iz.load_model(path)


@pytest.mark.usefixtures("small_memory")
def test_random_edits_of_the_network_in_a_file_load_or_give_our_error(saved):
    path, model = saved
    metadata, pick, loaded = metadata_in(path), random.Random(0), 0
    for _ in range(150):
        edited = copy.deepcopy(metadata)
        layers = [layer for _, layer in edited["network"]["stages"]]
        layers += [branch for _, branch in edited["network"]["stages"][1][1]["branches"]]
        layers += [layer for branch in layers for layer in branch.get("layers", [])]
        layer = pick.choice([*layers, edited["network"], edited["network"]["style"], edited["network"]["head"]])
        layer[pick.choice(list(layer))] = pick.choice(
            [0, 1, 2, 3, 6, 10**9, True, None, "same", "valid", "relu", [1, 3], [], {}]
        )
        rewrite(path, edited)
        try:
            again = iz.load_model(path)
        except iz.ZooError:
            continue
        loaded += 1
        assert again.state_dict().keys() == model.state_dict().keys()
    assert 5 < loaded < 145


def test_a_network_whose_name_ends_like_timms_of_the_same_padding(register, tmp_path, monkeypatch):
    register("own_same", iz.network(stem=iz.Conv(8, 3)), num_classes=2)
    model = iz.create_model("own_same")
    iz.save_pretrained(model, tmp_path / "repository")
    monkeypatch.delitem(REGISTRY, "own_same")  # as in a process that has not registered it
    loaded = iz.create_model(f"local-dir:{tmp_path / 'repository'}")
    assert loaded.head.fc.weight.equal(model.head.fc.weight)
