"""describe_changes: how a model differs from its specification, and who asks before writing a file."""

import copy
import re
import types

import pytest
import timm
import torch
from helpers import noise, tiny_network
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.nn.utils import parametrize, prune

import inceptionzoo as iz
from inceptionzoo.nn import ConvNormAct, describe_changes


def changes(model: nn.Module) -> list[str]:
    return list(map(str, describe_changes(model)))


@pytest.mark.parametrize("name", iz.list_models())
def test_models_as_they_are_built_have_no_changes(name):
    model = iz.create_model(name, num_classes=3, device="meta")
    assert changes(model) == changes(iz.FeatureNet(model)) == []
    if model.network.aux:
        assert changes(iz.with_aux(model)) == []


@pytest.mark.parametrize(
    "options",
    [
        {"norm_layer": "groupnorm"},
        {"norm_layer": nn.InstanceNorm2d},
        {"act_layer": "silu"},
        {"act_layer": nn.PReLU},
        {"padding": "same", "output_stride": 8},
        {"ceil_mode": "pad"},
        {"global_pool": "catavgmax", "drop_rate": 0.3},
        {"num_classes": 0, "global_pool": ""},
        {"in_chans": 1, "dtype": torch.float64},
    ],
    ids=str,
)
def test_options_are_no_changes(options):
    assert changes(iz.create_model("googlenet", **options, device="meta")) == []


@pytest.mark.parametrize("kind", ["mlp", "conv", "pool"])
def test_heads_of_a_vgg_are_no_changes(kind):
    model = iz.create_model("vgg11", head=kind, device="meta")
    model.reset_classifier(5, "max")
    assert changes(model) == []


def test_what_a_file_carries_is_no_change(tiny):
    tiny.train().requires_grad_(False).to(memory_format=torch.channels_last)
    tiny.head.drop.p = 0.4
    tiny.features.stem.bn.momentum = 0.01
    tiny.features.stem.act.inplace = True
    tiny.set_memory_saving(False)
    tiny.head.fc = nn.Linear(tiny.head_hidden_size, 7)
    assert changes(tiny) == changes(copy.deepcopy(tiny)) == changes(nn.SyncBatchNorm.convert_sync_batchnorm(tiny)) == []
    tiny.prune_intermediate_layers(1)
    assert changes(tiny) == []


@pytest.mark.parametrize("model", [{"spatial_dims": 1}, {"spatial_dims": 3}, {"name": "inception_resnet_v1"}], ids=str)
def test_synchronised_batch_normalisation_is_no_change(model):
    """FaceNet's head has a BatchNorm1d."""
    arguments = {"name": "googlenet_cifar", "num_classes": 2, "device": "meta"} | model
    assert changes(nn.SyncBatchNorm.convert_sync_batchnorm(iz.create_model(**arguments))) == []


def test_synchronised_batch_normalisation_is_no_group_normalisation():
    model = iz.create_model("googlenet_cifar", num_classes=2, norm_layer="groupnorm", device="meta")
    model.features.conv1.bn = nn.SyncBatchNorm(192, device="meta")
    assert len(changes(model)) == 1


def test_random_generators_and_the_model_are_left_alone(register):
    register("own", iz.network(a=iz.Conv(4), b=iz.Op(lambda width: nn.Conv2d(width, 4, 1), 4)), num_classes=2)
    model, state = iz.create_model("own"), torch.get_rng_state()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert changes(model) == []
    assert torch.get_rng_state().equal(state)
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())


class Louder(iz.Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Quantized(torch.Tensor):
    """A tensor subclass, as torchao's are."""


def set_part(model: nn.Module, name: str, value: object) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, value)


def replace(name: str, value: object):
    """Return a function that replaces an attribute of a model; `value` may be a function that makes it."""
    return lambda model: set_part(model, name, value() if isinstance(value, types.FunctionType) else value)


def reorder(model: iz.Net) -> None:
    first = model.features.stem
    del model.features.stem
    model.features.add_module("stem", first)


CHANGES = {
    "a head of its own": (
        replace("head.fc", lambda: nn.Sequential(nn.Linear(8, 3))),
        "head.fc is of type Sequential, not Linear",
    ),
    "a whole head": (replace("head", lambda: nn.Linear(8, 3)), "head is of type Linear, not ClassifierHead"),
    "no bias": (replace("head.fc.bias", None), "head.fc has no bias"),
    "a part that nothing uses": (
        replace("projector", lambda: nn.Linear(8, 3)),
        "projector is not a part of the network (the classifier is head.fc)",
    ),
    "another activation": (replace("features.stem.act", lambda: nn.ELU()), "features.stem.act is of type ELU, not ReLU"),
    "no activation": (replace("features.stem.act", None), "features.stem.act is missing"),
    "another slope": (replace("features.stem.bn.eps", 0.5), "features.stem.bn has eps=0.5, not 0.001"),
    "reflected": (
        replace("features.stem.conv.padding_mode", "reflect"),
        "features.stem.conv has padding_mode='reflect', not 'zeros'",
    ),
    "compiled": (
        lambda model: set_part(model, "features.stem", torch.compile(model.features.stem)),
        "features.stem is of type OptimizedModule, not ConvNormAct",
    ),
    "strided": (replace("features.stem.conv.stride", (2, 2)), "features.stem.conv has stride=(2, 2), not (1, 1)"),
    "wider": (replace("head.fc", lambda: nn.Linear(9, 3)), "head.fc has weight of shape (3, 9), not (3, 8)"),
    "wrapped": (
        lambda model: replace("features.block", nn.Sequential(model.features.block, nn.Dropout2d()))(model),
        "features.block is of type Sequential, not Branches",
    ),
    "another order": (reorder, "features has its modules in another order"),
    "one more": (lambda model: model.features.append(nn.ReLU()), "features.2 is not a part of the network"),
    "pruned": (
        lambda model: prune.l1_unstructured(model.features.stem.conv, "weight", 0.5),
        "features.stem.conv is pruned: it has weight_orig and weight_mask in place of weight",
    ),
    "parametrized": (
        lambda model: parametrize.register_parametrization(model.head.fc, "weight", nn.Identity()),
        "head.fc has a parametrization of weight",
    ),
    "a buffer": (
        lambda model: model.register_buffer("mean", torch.zeros(3)),
        "the model has mean, which the network does not have",
    ),
    "a subclass of Tensor": (
        replace("head.fc.weight", lambda: nn.Parameter(torch.ones(3, 8).as_subclass(Quantized))),
        "head.fc has weight of shape (3, 8, 'Quantized'), not (3, 8)",
    ),
    "a method": (lambda model: setattr(model.head, "forward", model.head.fc.forward), "head has a forward of its own"),
    "a hidden method": (
        lambda model: setattr(model.features.stem.conv, "_conv_forward", model.features.stem.conv._conv_forward.__func__),
        "features.stem.conv has a _conv_forward of its own",
    ),
    "a subclass": (replace("__class__", Louder), "the model is of type Louder, which has a forward of its own"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_changes_are_named_and_not_saved(case, tiny, tmp_path):
    change, text = CHANGES[case]
    tiny.train()
    change(tiny)
    assert text in changes(tiny)
    data, file = [(noise(4, 3, 8, 8), torch.arange(4) % 3)], tmp_path / "file.safetensors"
    weights = [value.clone() for value in tiny.state_dict().values()]
    for call in (
        lambda: iz.save_weights(tiny, file),
        lambda: iz.save_pretrained(tiny, tmp_path / "folder"),
        lambda: iz.Ensemble([tiny]).save(file),
        lambda: iz.fit(tiny, data, epochs=1, out=tmp_path / "out"),
    ):
        with pytest.raises(iz.ArgumentError, match="the model cannot be saved: .*; its name and arguments build no such model"):
            call()
    assert list(tmp_path.iterdir()) == []
    assert all(a.equal(b) for a, b in zip(tiny.state_dict().values(), weights, strict=True))


WRAPPED = {
    "data parallel": (nn.DataParallel, "model.module"),
    "averaged": (torch.optim.swa_utils.AveragedModel, "model.module"),
    "in a sequence": (lambda model: nn.Sequential(nn.Identity(), model), r"model.get_submodule\('1'\)"),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_the_model_in_another_module_is_named(case, tiny, tmp_path):
    wrap, path = WRAPPED[case]
    wrapped = wrap(tiny)
    for name, call in {
        "save_weights": lambda: iz.save_weights(wrapped, tmp_path / "file.safetensors"),
        "save_pretrained": lambda: iz.save_pretrained(wrapped, tmp_path / "folder"),
        "export_weights": lambda: iz.export_weights(wrapped, tmp_path / "file.pth", layout="timm"),
    }.items():
        with pytest.raises(
            iz.ArgumentError,
            match=f"model is (an [AEIOU]|a [^AEIOU]).*; {name} takes a model of .*; pass the model in it: {path}$",
        ):
            call()
    assert not list(tmp_path.iterdir())


def test_a_compiled_model_is_saved_and_loaded(tiny, tmp_path):
    compiled, file = torch.compile(tiny, backend="eager"), tmp_path / "file.safetensors"
    iz.save_weights(compiled, file)
    iz.save_pretrained(compiled, tmp_path / "folder")
    for name in (file, f"local-dir:{tmp_path / 'folder'}"):
        assert iz.load_model(name).head.fc.weight.equal(tiny.head.fc.weight)
    wanted = {key: value + 1 for key, value in tiny.state_dict().items()}
    assert iz.load_weights(compiled, wanted).left_random == []
    assert tiny.head.fc.weight.equal(wanted["head.fc.weight"])
    googlenet = iz.create_model("googlenet")
    iz.export_weights(torch.compile(googlenet, backend="eager"), tmp_path / "theirs.pth", layout="torchvision")
    assert torch.load(tmp_path / "theirs.pth")["fc.weight"].equal(googlenet.head.fc.weight)


class Headless(iz.Net):
    def state_dict(self, *args, **options):
        return {key: value for key, value in super().state_dict(*args, **options).items() if not key.startswith("head")}


UNREADABLE = {
    "a hook": (
        lambda model: model.register_state_dict_post_hook(lambda module, state, *_: state.update(more=torch.ones(1))),
        "state_dict.. and the parameters and buffers differ in 'more'",
    ),
    "a method": (replace("__class__", Headless), "state_dict.. and the parameters and buffers differ in 'head.fc.weight'"),
    "not a number": (lambda model: model.head.fc.weight.data.fill_(torch.nan), "head.fc.weight: all values must be finite"),
    "an infinite variance": (
        lambda model: model.features.stem.bn.running_var.fill_(torch.inf),
        "features.stem.bn.running_var: all values must be finite",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_could_not_be_loaded_is_not_written(case, tiny, tmp_path):
    change, text = UNREADABLE[case]
    change(tiny)
    for call in (
        lambda: iz.save_weights(tiny, tmp_path / "file.safetensors"),
        lambda: iz.Ensemble([tiny]).save(tmp_path / "file.safetensors"),
    ):
        with pytest.raises(iz.ArgumentError, match=f"the model cannot be saved: {text}"):
            call()
    assert not list(tmp_path.iterdir())


UNDONE = {
    "pruned": lambda model: prune.l1_unstructured(model.head.fc, "bias", 0.5),
    "spectral norm": lambda model: nn.utils.spectral_norm(model.features.stem.conv),
    "weight norm": lambda model: nn.utils.weight_norm(model.head.fc),
    "parametrized": lambda model: parametrize.register_parametrization(model.head.fc, "bias", nn.Identity()),
    "frozen": lambda model: timm.layers.freeze_batch_norm_2d(model),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("case", UNDONE)
def test_the_call_that_the_error_names_undoes_a_change(case, tiny, tmp_path):
    file = tmp_path / "file.safetensors"
    UNDONE[case](tiny)
    with pytest.raises(iz.ArgumentError, match=r"cannot be saved: .*; call .* first$") as raised:
        iz.save_weights(tiny, file)
    eval(re.search("call (.*) first", str(raised.value))[1], {"torch": torch, "timm": timm, "model": tiny})
    iz.save_weights(tiny, file)
    assert iz.load_model(file).head.fc.bias.equal(tiny.head.fc.bias)


def test_a_layer_without_a_shape_is_named(tiny, tmp_path):
    tiny.head.fc = nn.LazyLinear(3)
    with pytest.raises(iz.ArgumentError, match="cannot be saved: head.fc is of type LazyLinear, not Linear"):
        iz.save_weights(tiny, tmp_path / "file.safetensors")


def test_stages_may_be_compiled_in_place(tiny, tmp_path):
    stem = tiny.features.stem
    tiny.features.stem = torch.compile(stem)
    with pytest.raises(iz.ArgumentError, match=r"; compile it in place, by model.get_submodule\('features.stem'\).compile\(\)"):
        iz.save_weights(tiny, tmp_path / "file.safetensors")
    tiny.features.stem = stem
    tiny.get_submodule("features.stem").compile()
    iz.save_weights(tiny, tmp_path / "file.safetensors")


def test_the_weights_of_a_sharded_model_go_through_one_that_is_not(sharded, tmp_path):
    with pytest.raises(iz.ArgumentError, match=r"DTensor.*; pass torch.*\.get_model_state_dict\(model, .*\) to load_weights"):
        iz.save_weights(sharded, tmp_path / "file.safetensors")
    options = StateDictOptions(full_state_dict=True)
    model = iz.create_model("tiny")
    iz.load_weights(model, get_model_state_dict(sharded, options=options))
    assert model.head.fc.weight.equal(sharded.head.fc.weight.full_tensor())


def test_a_changed_model_is_not_exported(tmp_path):
    model = iz.create_model("vgg11_bn_cifar", num_classes=2)
    prune.l1_unstructured(model.head.fc, "weight", 0.3)
    with pytest.raises(iz.ArgumentError, match="cannot be exported: head.fc is pruned: .* call torch.nn.utils.prune.remove"):
        iz.export_weights(model, tmp_path / "out.pth", layout="pytorch-cifar")
    prune.remove(model.head.fc, "weight")
    iz.export_weights(model, tmp_path / "out.pth", layout="pytorch-cifar")


def test_a_method_that_is_bound_to_its_module_is_no_change(tiny, tmp_path):
    """accelerate leaves `forward` so when it unwraps a model."""
    tiny.forward = tiny.forward
    assert changes(tiny) == []
    iz.save_weights(tiny, tmp_path / "file.safetensors")
    x = noise(2, 3, 8, 8)
    with torch.no_grad():
        assert iz.fuse(tiny.eval())(x).sub(tiny(x)).abs().max() < 1e-4


def test_several_changes_are_listed(tiny, tmp_path):
    for stage in tiny.features.block.modules():
        if hasattr(stage, "act"):
            stage.act = nn.SiLU()
    with pytest.raises(
        iz.ArgumentError, match=r"act is of type SiLU, not ReLU; .*; and \d more; .* undo this, register a network"
    ):
        iz.save_weights(tiny, tmp_path / "file.safetensors")


def test_a_model_that_cannot_be_described_is_not_trained(tmp_path):
    model = iz.create_model("vgg11_bn_cifar", num_classes=2, act_layer=nn.Mish)
    before = model.head.fc.weight.clone()
    with pytest.raises(iz.ArgumentError, match="act_layer=.* must be plain values"):
        iz.fit(model, [(noise(4, 3, 32, 32), torch.arange(4) % 2)], epochs=1, out=tmp_path / "out")
    assert model.head.fc.weight.equal(before)
    assert list(tmp_path.iterdir()) == []


def test_hooks_are_named_and_the_file_loads(tiny, tmp_path):
    def shout(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return 2 * output

    handle = tiny.features.stem.register_forward_hook(shout)
    tiny.head.register_full_backward_pre_hook(lambda module, gradient: None)
    with pytest.warns(
        UserWarning, match=r"features.stem has the hooks .*shout; head has the hooks .*, which the file does not"
    ):
        iz.save_weights(tiny, tmp_path / "file.safetensors")
    handle.remove()
    x = noise(2, 3, 8, 8)
    assert iz.load_model(tmp_path / "file.safetensors")(x).equal(tiny(x))


def test_a_head_of_ones_own_with_a_linear_layer(tiny, tmp_path):
    x = noise(2, 3, 8, 8)
    tiny.head.fc = nn.Linear(8, 7)
    assert (tiny.num_classes, tiny.pretrained_cfg["num_classes"]) == (7, 7)
    iz.save_weights(tiny, tmp_path / "file.safetensors")
    assert iz.load_model(tmp_path / "file.safetensors")(x).equal(tiny(x))
    tiny.head.fc = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    assert tiny.num_classes == 2
    tiny.head.fc = nn.Identity()
    assert tiny.num_classes == 0
    tiny.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    assert (tiny.num_classes, tiny.num_features, tiny(x).shape) == (5, 8, (2, 5))
    assert tiny.get_classifier() is tiny.head
    iz.fit(tiny, [(noise(4, 3, 8, 8), torch.arange(4))], epochs=1)
    tiny.reset_classifier(3)
    assert changes(tiny) == []
    assert tiny.eval()(x).shape == (2, 3)


def test_changes_of_a_fused_model(tiny, tmp_path):
    fast = iz.fuse(tiny)
    assert changes(fast) == changes(copy.deepcopy(fast)) == []
    iz.save_weights(fast, tmp_path / "fast.safetensors")
    assert changes(iz.load_model(tmp_path / "fast.safetensors")) == []
    fast.features.stem.act = nn.ELU()
    prune.l1_unstructured(fast.head.fc, "weight", 0.5)
    assert changes(fast) == [
        "features.stem.act is of type ELU, not ReLU",
        "head.fc is pruned: it has weight_orig and weight_mask in place of weight",
    ]
    tiny.features.stem.act = nn.ELU()
    with pytest.raises(iz.ArgumentError, match="cannot be saved: features.stem.act is of type ELU, not ReLU"):
        iz.save_weights(iz.fuse(tiny), tmp_path / "changed.safetensors")


def test_a_fused_model_without_some_stages(tiny, tmp_path):
    next(part for part in tiny.features.block.modules() if isinstance(part, ConvNormAct)).act = nn.ELU()
    tiny.head.fc = nn.Sequential(nn.Linear(tiny.head_hidden_size, 3))
    assert len(changes(tiny)) == 2
    fast, x = iz.fuse(tiny, tune=False), noise(2, 3, 8, 8)
    fast.prune_intermediate_layers(["stem"])
    assert changes(fast) == changes(iz.FeatureNet(fast)) == []
    assert changes(iz.FeatureNet(iz.fuse(tiny, tune=False), ["stem"])) == []
    iz.save_weights(fast, tmp_path / "fast.safetensors")
    again = iz.load_model(tmp_path / "fast.safetensors")
    assert changes(again) == []
    torch.testing.assert_close(again(x), fast(x))
    fast.features.stem.act = nn.ELU()
    assert changes(fast) == ["features.stem.act is of type ELU, not ReLU"]


def test_a_network_of_build():
    style = iz.Style(norm=None, bias=True)
    assert changes(iz.build(iz.network(a=iz.Residual(iz.Conv(3)), b=iz.Act(), c=iz.Norm("lrn"), style=style))) == []
    assert changes(iz.build(tiny_network())) == []


def test_a_module_that_is_used_twice_is_compared_in_both_places(tiny):
    tiny.features.stem.bn = tiny.features.stem.act = nn.SiLU()
    assert [change.part for change in describe_changes(tiny)] == ["features.stem.bn", "features.stem.act"]
